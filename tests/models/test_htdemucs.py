"""Tests of the Demucs adapter, on small models of the real class with random weights."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from demucs.apply import apply_model
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from benchmarks.support.demucs_files import save_demucs_safetensors
from singsong.models import demucs_checkpoints
from singsong.models.conformance import noise_clips
from singsong.models.demucs_checkpoints import published_files
from singsong.models.htdemucs import DemucsSeparator
from singsong.models.weights import WeightsError
from singsong.schemas.arrays import FloatArray
from tests.support.hub import Hub, running_hub
from tests.support.small_checkpoints import (
    DEMUCS_SOURCES,
    Malice,
    build_htdemucs,
    save_demucs_th,
)

CLIPS = noise_clips(30_000)


def halved(seed: int) -> HTDemucs:
    """The model that its file holds: Demucs stores half precision."""
    model = build_htdemucs(seed)
    model.load_state_dict({name: x.half().float() for name, x in model.state_dict().items()})
    return model


def vocals_by_demucs(
    model: torch.nn.Module, mix: FloatArray, overlap: float, shifts: int = 0
) -> FloatArray:
    """What `demucs.api.Separator` computes for the mono clip given twice, averaged."""
    vocals: FloatArray = stereo_by_demucs(model, np.stack([mix, mix]), overlap, shifts).mean(axis=0)
    return vocals


def stereo_by_demucs(
    model: torch.nn.Module, mix: FloatArray, overlap: float, shifts: int = 0
) -> FloatArray:
    """What `demucs.api.Separator` computes for a clip [2, samples]."""
    stereo = torch.tensor(mix)
    reference = stereo.mean(0)
    mean, std = reference.mean(), reference.std() + 1e-8
    with torch.no_grad():
        separated = apply_model(
            model, ((stereo - mean) / std)[None], shifts=shifts, overlap=overlap
        )[0]
    vocals: FloatArray = (separated * std + mean)[3].numpy()
    return vocals


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bag of two models, in both file formats."""
    path = tmp_path_factory.mktemp("bag")
    save_demucs_safetensors(build_htdemucs(0), path / "aaaa.safetensors")
    save_demucs_th(build_htdemucs(1), path / "bbbb.th")
    (path / "bag.yaml").write_text(
        "models: ['aaaa', 'bbbb']\nweights: [[1., 1., 1., 0.5], [1., 1., 1., 1.5]]\n"
    )
    return path


@pytest.mark.parametrize(("file", "seed"), [("aaaa.safetensors", 0), ("bbbb.th", 1)])
def test_vocals_are_those_of_demucs(folder: Path, file: str, seed: int) -> None:
    separator = DemucsSeparator(str(folder / file), overlap=0.1)
    assert separator.sample_rate_hz == 44100
    vocals = separator.separate_vocals(CLIPS[:2])
    for clip, ours in zip(CLIPS, vocals, strict=False):
        expected = vocals_by_demucs(halved(seed), clip, overlap=0.1)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
        assert np.abs(ours).max() > 1e-3


def test_stereo_vocals_are_those_of_demucs(folder: Path) -> None:
    separator = DemucsSeparator(str(folder / "aaaa.safetensors"), overlap=0.1)
    mixes = np.stack([CLIPS[:2], CLIPS[2:4] + np.float32(0.1)], axis=1)  # [clips, 2, samples]
    for mix, ours in zip(mixes, separator.separate_stereo(mixes), strict=True):
        expected = stereo_by_demucs(halved(0), mix, overlap=0.1)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
        assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_a_mono_model_refuses_stereo(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Demucs(DEMUCS_SOURCES, audio_channels=1, channels=8, depth=4, segment=1)
    save_demucs_th(model, tmp_path / "mono.th")
    separator = DemucsSeparator(str(tmp_path))
    assert separator.separate_vocals(CLIPS[:1]).shape == (1, 30_000)
    with pytest.raises(ValueError, match="this Demucs model takes 1 channels, found 2"):
        separator.separate_stereo(CLIPS[None, :2])


def test_shifts_are_those_of_demucs_but_evenly_spaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(folder / "aaaa.safetensors")
    vocals = DemucsSeparator(source, shifts=3).separate_vocals(CLIPS[:1])[0]
    offsets = iter([0, 7350, 14700])
    monkeypatch.setattr("demucs.apply.random.randint", lambda _low, _high: next(offsets))
    expected = vocals_by_demucs(halved(0), CLIPS[0], overlap=0.25, shifts=3)
    np.testing.assert_allclose(vocals, expected, atol=1e-5)
    unshifted = DemucsSeparator(source).separate_vocals(CLIPS[:1])[0]
    assert np.abs(vocals - unshifted).max() > 1e-4


@pytest.mark.parametrize(("klass", "depth"), [(HDemucs, 6), (Demucs, 4)])
def test_the_older_models_are_those_of_demucs(klass: type[Any], depth: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = klass(DEMUCS_SOURCES, channels=8, depth=depth, segment=1).eval()
    save_demucs_th(model, tmp_path / "old.th")
    model.load_state_dict({name: x.half().float() for name, x in model.state_dict().items()})
    vocals = DemucsSeparator(str(tmp_path)).separate_vocals(CLIPS[:1])[0]
    expected = vocals_by_demucs(model, CLIPS[0], overlap=0.25)
    np.testing.assert_allclose(vocals, expected, atol=1e-5)
    assert np.abs(vocals).max() > 1e-3


def test_a_bag_is_averaged_by_its_weights_for_vocals(folder: Path) -> None:
    vocals = DemucsSeparator(str(folder)).separate_vocals(CLIPS[:1])[0]
    first, second = (vocals_by_demucs(halved(seed), CLIPS[0], overlap=0.25) for seed in (0, 1))
    np.testing.assert_allclose(vocals, (0.5 * first + 1.5 * second) / 2, atol=1e-5)


def test_a_model_without_weight_for_the_vocals_does_not_run(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = "weights: [[1., 1., 1., 0.], [0., 0., 0., 1.]]"
    (tmp_path / "bag.yaml").write_text(f"models: ['aaaa', 'bbbb']\n{weights}\n")
    separator = DemucsSeparator(str(tmp_path / "bag.yaml"))
    assert len(separator._models) == 1
    only = DemucsSeparator(str(tmp_path / "bbbb.th"))
    np.testing.assert_array_equal(
        separator.separate_vocals(CLIPS[:1]), only.separate_vocals(CLIPS[:1])
    )


def test_both_formats_have_one_digest(folder: Path, tmp_path: Path) -> None:
    save_demucs_th(build_htdemucs(0), tmp_path / "aaaa.th")
    digest = DemucsSeparator(str(folder / "aaaa.safetensors")).weights_sha256
    assert DemucsSeparator(str(tmp_path)).weights_sha256 == digest
    assert DemucsSeparator(str(tmp_path), dtype="bfloat16").weights_sha256 == digest
    assert DemucsSeparator(str(tmp_path), overlap=0.1).weights_sha256 != digest
    assert DemucsSeparator(str(tmp_path), shifts=1).weights_sha256 != digest
    assert DemucsSeparator(str(folder / "bbbb.th")).weights_sha256 != digest


def test_bfloat16_is_close_to_float32(folder: Path) -> None:
    source = str(folder / "aaaa.safetensors")
    exact = DemucsSeparator(source).separate_vocals(CLIPS[:1])
    close = DemucsSeparator(source, dtype="bfloat16").separate_vocals(CLIPS[:1])
    assert np.square(exact - close).sum() < 1e-3 * np.square(exact).sum()


def test_silence_comes_back_finite(folder: Path) -> None:
    vocals = DemucsSeparator(str(folder / "bbbb.th")).separate_vocals(
        np.zeros((1, 9000), np.float32)
    )
    assert vocals.shape == (1, 9000)
    assert np.abs(vocals).max() < 1e-6


def test_a_malicious_checkpoint_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.th"
    marker = tmp_path / "executed"
    package = {"klass": HTDemucs, "args": [], "kwargs": {}, "state": Malice(marker)}
    torch.save(package, path)
    with pytest.raises(WeightsError, match=r"refused to load .*evil\.th"):
        DemucsSeparator(str(path))
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_only_the_classes_of_demucs_are_built(tmp_path: Path) -> None:
    save_demucs_safetensors(build_htdemucs(), tmp_path / "a.safetensors", klass="os.system")
    with pytest.raises(WeightsError, match=r"names the class os\.system"):
        DemucsSeparator(str(tmp_path / "a.safetensors"))


def test_a_file_must_have_the_digest_in_its_name(folder: Path, tmp_path: Path) -> None:
    content = (folder / "bbbb.th").read_bytes()
    (tmp_path / "bag.yaml").write_text("models: ['bbbb']\n")
    good = tmp_path / f"bbbb-{hashlib.sha256(content).hexdigest()[:8]}.th"
    good.write_bytes(content)
    DemucsSeparator(str(tmp_path))
    good.rename(tmp_path / "bbbb-01234567.th")
    with pytest.raises(WeightsError, match="does not have the sha256 in its name"):
        DemucsSeparator(str(tmp_path))
    (tmp_path / "bbbb-01234567.th").unlink()
    with pytest.raises(WeightsError, match="must hold one model named bbbb"):
        DemucsSeparator(str(tmp_path))


def test_wrong_sources_say_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="holds no Demucs model"):
        DemucsSeparator(str(tmp_path))
    with pytest.raises(WeightsError, match="no Demucs model at"):
        DemucsSeparator(str(tmp_path / "none.th"))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "a.th")
    with pytest.raises(WeightsError, match="not a Demucs model package"):
        DemucsSeparator(str(tmp_path))
    shutil.copy(folder / "bbbb.th", tmp_path)
    with pytest.raises(WeightsError, match="give one of these files"):
        DemucsSeparator(str(tmp_path))
    (tmp_path / "bag.yaml").write_text("- a list\n")
    with pytest.raises(WeightsError, match="not a bag"):
        DemucsSeparator(str(tmp_path))
    save_demucs_th(build_htdemucs(sources=["drums", "other"]), tmp_path / "b.th")
    with pytest.raises(WeightsError, match="so no vocals"):
        DemucsSeparator(str(tmp_path / "b.th"))
    with pytest.raises(ValueError, match=r"overlap must be in \[0, 1\), found 1.0"):
        DemucsSeparator(str(folder), overlap=1.0)
    with pytest.raises(ValueError, match="shifts must be at least 0, found -1"):
        DemucsSeparator(str(folder), shifts=-1)


def test_quantised_models_are_refused(folder: Path, tmp_path: Path) -> None:
    package = torch.load(folder / "bbbb.th", weights_only=False)
    torch.save({**package, "state": {"__quantized": True}}, tmp_path / "q.th")
    with pytest.raises(WeightsError, match="without _q"):
        DemucsSeparator(str(tmp_path / "q.th"))
    torch.save({**package, "state": {}}, tmp_path / "empty.th")
    with pytest.raises(WeightsError, match=r"tensors of .* are not those of its model"):
        DemucsSeparator(str(tmp_path / "empty.th"))


def test_names_go_to_the_hub_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(repo: str, file: str, *, local_files_only: bool) -> str:
        assert not local_files_only
        asked.append((repo, file))
        known = {"htdemucs_ft.yaml": "bag.yaml", "aaaa.safetensors": "aaaa.safetensors"}
        # The bag's other model lies in the test's folder in the other format.
        return str(folder / known.get(file, "bbbb.th"))

    monkeypatch.setattr(demucs_checkpoints, "hf_hub_download", download)
    DemucsSeparator("someone/htdemucs_ft")
    files = ["htdemucs_ft.yaml", "aaaa.safetensors", "bbbb.safetensors"]
    assert asked == [("someone/HTDemucs-ft", file) for file in files]


@pytest.fixture
def server(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Meta's server, the hub being out of reach, with one bag of one model."""

    def unreachable(repo: str, file: str, *, local_files_only: bool) -> str:
        raise ConnectionError(f"no route to {repo}/{file}")

    content = (folder / "bbbb.th").read_bytes()
    name = f"bbbb-{hashlib.sha256(content).hexdigest()[:8]}.th"
    (tmp_path / "served" / "final").mkdir(parents=True)
    (tmp_path / "served" / "final" / name).write_bytes(content)
    remote = tmp_path / "remote"
    remote.mkdir()
    (remote / "files.txt").write_text(f"# models\nroot: final/\n{name}\n")
    (remote / "mine.yaml").write_text("models: ['bbbb']\n")
    monkeypatch.setattr(demucs_checkpoints, "hf_hub_download", unreachable)
    monkeypatch.setattr(demucs_checkpoints, "REMOTE_ROOT", remote)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    with running_hub(tmp_path / "served") as hub:
        monkeypatch.setattr(demucs_checkpoints, "ROOT_URL", f"{hub.url}/")
        yield hub


def in_cache(server: Hub) -> list[str]:
    cache = server.folder.parent / "cache"
    return [path.name for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["mine", "bbbb"])
def test_names_then_go_to_the_server_once(server: Hub, folder: Path, name: str) -> None:
    digest = DemucsSeparator(str(folder / "bbbb.th")).weights_sha256
    with pytest.raises(WeightsError, match="does not exist"):
        published_files(name, download=False)
    assert DemucsSeparator(name).weights_sha256 == digest
    assert DemucsSeparator(name).weights_sha256 == digest
    (file,) = in_cache(server)
    assert server.sent == [(file, 0)]
    files = published_files(name, download=False)
    assert [path.name for path in files] == ([file] if name == "bbbb" else ["mine.yaml", file])


@pytest.mark.parametrize("fault", ["wrong", "cut"])
def test_a_download_with_another_sha256_is_refused_and_not_kept(server: Hub, fault: str) -> None:
    (path,) = (server.folder / "final").iterdir()
    server.wrong, server.cut = ({path.name}, {}) if fault == "wrong" else (set(), {path.name: 1})
    with pytest.raises(WeightsError, match=r"cannot download the Demucs model 'mine' .*hash"):
        DemucsSeparator("mine")
    assert in_cache(server) == []
    server.wrong = set()
    DemucsSeparator("mine")
    assert in_cache(server) == [path.name]


def test_an_unknown_name_and_a_server_without_the_file_say_so(server: Hub) -> None:
    with pytest.raises(WeightsError, match="no Demucs model is named 'unheard_of'"):
        DemucsSeparator("unheard_of")
    (path,) = (server.folder / "final").iterdir()
    path.unlink()
    with pytest.raises(WeightsError, match=r"cannot download the Demucs model 'mine' .*404"):
        DemucsSeparator("mine")


def test_the_published_names_have_a_url_for_each_model() -> None:
    root = demucs_checkpoints.REMOTE_ROOT
    urls = demucs_checkpoints._server_urls((root / "files.txt").read_text())
    server = "https://dl.fbaipublicfiles.com/demucs"
    assert urls["955717e8"] == f"{server}/hybrid_transformer/955717e8-8726e21a.th"
    bags = [*root.glob("*.yaml")]
    assert len(bags) > 5
    for bag in bags:
        assert set(demucs_checkpoints._signatures(bag)) <= set(urls), bag
