"""Every adapter that has a name keeps the contract: one test for all, so that none is forgotten."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.hdemucs import HDemucs

from singsong.models.built_in import ADAPTERS
from singsong.models.conformance import (
    check_batch_invariance,
    check_codec,
    check_semantic_encoder,
    check_separator,
    noise_clips,
)
from tests.support.lyra_files import lyra_folder
from tests.support.mdx_files import N_FFT, save_small_net
from tests.support.small_checkpoints import (
    DEMUCS_SOURCES,
    build_htdemucs,
    save_codebook,
    save_dac,
    save_demucs_th,
    save_encodec,
    save_hubert,
    save_w2v_bert,
)

Save = Callable[[Path], tuple[str | None, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """An adapter with a model.

    Attributes:
        role: Key of `ADAPTERS`.
        name: Key of its role.
        save: Writes a checkpoint to a folder, and returns the source and the options.
        frames: Frames of ten seconds; 0 for a separator.
        samples: Length of the clips to check with.
    """

    role: str
    name: str
    save: Save
    frames: int = 0
    samples: int = 8_000

    def make(self, folder: Path, *, batch_clips: int) -> Any:
        source, options = self.save(folder)
        place = {"device": "cpu", "dtype": "float32", "batch_clips": batch_clips}
        return ADAPTERS[self.role][self.name].make(source, **place, **options)


def bundled(_folder: Path) -> tuple[None, dict[str, Any]]:
    return None, {}


def once(save: Callable[[Path], Any], **options: Any) -> Save:
    """Returns what writes a checkpoint the first time that it sees a folder."""

    def saved(folder: Path) -> tuple[str, dict[str, Any]]:
        if not folder.exists():
            folder.mkdir()
            save(folder)
        return str(folder), options

    return saved


def htdemucs(folder: Path) -> None:
    save_demucs_th(build_htdemucs(), folder / "small.th")


def hdemucs(folder: Path) -> None:
    torch.manual_seed(0)
    model = HDemucs(DEMUCS_SOURCES, channels=8, depth=6, segment=1).eval()
    save_demucs_th(model, folder / "small.th")


def mdx(folder: Path) -> tuple[str, dict[str, Any]]:
    file = folder / "vocals.onnx"
    if not file.exists():
        folder.mkdir()
        save_small_net(file)
    return str(file), {"stem": "vocals", "n_fft": N_FFT}


def lyra(pack: int) -> Save:
    return lambda _folder: (str(lyra_folder()), {"pack": pack})


def with_codebook(kind: str, save: Callable[[Path], Any]) -> Save:
    """Returns what also writes a codebook of centroids as far apart as the features."""

    def saved(folder: Path) -> tuple[str, dict[str, Any]]:
        codebook = folder / "codebook.safetensors"
        source, options = once(save, layer=2)(folder)
        if not codebook.exists():
            make = ADAPTERS["features"][kind].make
            features = make(source, device="cpu", dtype="float32", batch_clips=1, **options)
            save_codebook(codebook, std=float(features.features(noise_clips(8_000)).std()))
        return str(source), {**options, "codebook": str(codebook)}

    return saved


def separator(name: str, save: Save, samples: int = 24_000) -> Case:
    return Case(role="separator", name=name, save=save, samples=samples)


def codec(name: str, save: Save, frames: int, samples: int = 8_000) -> Case:
    return Case(role="acoustic", name=name, save=save, frames=frames, samples=samples)


def encoder(name: str, save: Save) -> Case:
    return Case(role="semantic", name=name, save=save, frames=250)


def at(save: Callable[..., Any], rate_hz: int) -> Save:
    return once(functools.partial(save, rate_hz=rate_hz))


CASES = {
    "spleeter": separator("spleeter", bundled),
    "htdemucs": separator("demucs", once(htdemucs)),
    "htdemucs, shifted": separator("demucs", once(htdemucs, shifts=1), samples=12_000),
    "hdemucs": separator("demucs", once(hdemucs)),
    "mdx": separator("mdx", mdx),
    "dac 16 kHz": codec("dac", at(save_dac, 16000), 500),
    "dac 24 kHz": codec("dac", at(save_dac, 24000), 750),
    "dac 44.1 kHz": codec("dac", at(save_dac, 44100), 862),
    "encodec 24 kHz": codec("encodec", at(save_encodec, 24000), 750),
    "encodec 32 kHz": codec("encodec", at(save_encodec, 32000), 500, samples=16_000),
    "lyra, pack 2": codec("lyra", lyra(2), 500),
    "lyra, pack 3": codec("lyra", lyra(3), 500),
    "lite acoustic": codec("lite", bundled, 500),
    "lite semantic": encoder("lite", bundled),
    "hubert": encoder("hubert", with_codebook("hubert", save_hubert)),
    "stable hubert": encoder(
        "hubert", with_codebook("hubert", functools.partial(save_hubert, stable=True))
    ),
    "w2v-bert": encoder("w2v-bert", with_codebook("w2v-bert", save_w2v_bert)),
}
CHECKS: dict[str, Callable[..., None]] = {
    "separator": check_separator,
    "acoustic": check_codec,
    "semantic": check_semantic_encoder,
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("adapters")
    return lambda case: root / case


def test_no_adapter_is_forgotten() -> None:
    """Features are checked with the encoder of the same name, which is made of them."""
    named = {(role, name) for role, adapters in ADAPTERS.items() for name in adapters}
    checked = {(case.role, case.name) for case in CASES.values()}
    assert named == checked | {("features", "hubert"), ("features", "w2v-bert")}


@pytest.mark.parametrize(
    ("name", "batch_clips"),
    [(name, clips) for name in CASES for clips in ((3,) if "shifted" in name else (1, 3, 8))],
)
def test_an_adapter_keeps_the_contract(
    name: str, batch_clips: int, folder_of: Callable[[str], Path]
) -> None:
    case = CASES[name]
    make = functools.partial(case.make, folder_of(name), batch_clips=batch_clips)
    CHECKS[case.role](make, samples=case.samples)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.frames])
def test_ten_seconds_have_the_frames_that_the_geometry_says(
    name: str, folder_of: Callable[[str], Path]
) -> None:
    case = CASES[name]
    model = case.make(folder_of(name), batch_clips=1)
    geometry = model.geometry
    codes = model.encode(noise_clips(10 * geometry.sample_rate_hz)[:1])
    assert codes.shape[1] == geometry.frames(10 * geometry.sample_rate_hz) == case.frames


@pytest.mark.parametrize("kind", ["hubert", "w2v-bert"])
@pytest.mark.parametrize("batch_clips", [1, 3, 8])
def test_features_do_not_depend_on_the_batch(
    kind: str, batch_clips: int, folder_of: Callable[[str], Path]
) -> None:
    """Closer than codes could show."""
    source, options = CASES[kind].save(folder_of(kind))
    place = {"device": "cpu", "dtype": "float32", "batch_clips": batch_clips}
    features = ADAPTERS["features"][kind].make(source, **place, **options)
    check_batch_invariance(features.features, noise_clips(6_400))
