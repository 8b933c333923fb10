"""The whole chain with codecs whose geometry is not the paper's: songs in, an accompaniment out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.commands import cli
from singsong.dataset.handle import open_dataset
from tests.support.lyra_files import lyra_folder
from tests.support.small_checkpoints import save_dac, save_encodec

CLIP_SECONDS = 2
SUNG_SAMPLES = 110_000
"""Of the vocals, at 44.1 kHz: two windows."""


def encodec_24khz(folder: Path) -> str:
    return f"encodec:{save_encodec(folder)},bandwidth=3"


def encodec_32khz(folder: Path) -> str:
    return f"encodec:{save_encodec(folder, rate_hz=32000)}"


def dac_24khz(folder: Path) -> str:
    return f"dac:{save_dac(folder, rate_hz=24000, codebook_size=1024)},coarse=2"


def dac_44khz(folder: Path) -> str:
    return f"dac:{save_dac(folder, rate_hz=44100, codebook_size=1024)}"


def lyra(folder: Path) -> str:
    return f"lyra:{lyra_folder()},pack=3"


# Rate, hop, codebooks, coarse ones, codes, and the frames of two seconds.
CODECS: dict[Callable[[Path], str], tuple[int, ...]] = {
    encodec_24khz: (24000, 320, 4, 2, 1024, 150),
    encodec_32khz: (32000, 640, 4, 2, 2048, 100),
    dac_24khz: (24000, 320, 32, 2, 1024, 150),
    dac_44khz: (44100, 512, 9, 3, 1024, 173),  # 172.3 frames: the last is filled up
    lyra: (16000, 320, 15, 5, 4096, 100),
}


def run(*arguments: object) -> None:
    assert cli.main([str(argument) for argument in arguments]) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "codec",
    # The longest sequences; EnCodec at 24 kHz has the same frame rate.
    [
        pytest.param(codec, marks=pytest.mark.nightly if codec is dac_24khz else ())
        for codec in CODECS
    ],
)
def test_any_geometry_goes_all_the_way(
    codec: Callable[[Path], str], songs: Path, tmp_path: Path
) -> None:
    spec = codec(tmp_path / "codec")
    dataset = tmp_path / "dataset"
    flags = ("--clip-seconds", CLIP_SECONDS, "--splits", "train=60,validation=40", "--store-audio")
    run("prepare", songs, "--output", dataset, "--acoustic", spec, *flags, "--mode", "in_memory")
    run("dataset", "verify", dataset)
    opened = open_dataset(str(dataset))
    *geometry, frames = CODECS[codec]
    assert list(asdict(opened.geometry.acoustic).values()) == geometry
    [clip, *_] = opened.clips()
    assert clip.codes["vocals"].acoustic.shape == (frames, geometry[2])
    train = ("--data", dataset, "--preset", "tiny", "--steps", 2, "--batch-size", 2)
    train += ("--evaluate-every", 2, "--device", "cpu")
    run("train", "accompaniment", *train, "--output", tmp_path / "run")
    run("train", "fine", *train, "--crop-seconds", 0.5, "--output", tmp_path / "fine")
    vocals, mix = tmp_path / "vocals.wav", tmp_path / "mix.wav"
    song, rate_hz = soundfile.read(sorted(songs.iterdir())[0], frames=SUNG_SAMPLES)
    soundfile.write(vocals, song, rate_hz)
    models = ("--checkpoint", tmp_path / "run", "--fine", tmp_path / "fine", "--acoustic", spec)
    run("accompany", vocals, *models, "--output", mix, "--stem", "--device", "cpu")
    made, made_hz = soundfile.read(mix)
    assert (made_hz, len(made)) == (rate_hz, SUNG_SAMPLES)
    assert np.abs(made).max() > 0
    run("listen", dataset, "--output", tmp_path / "page", "--clips", 1)
    sounds = [soundfile.info(path) for path in (tmp_path / "page").rglob("*.flac")]
    assert len(sounds) == 9
    assert {sound.samplerate for sound in sounds} == {geometry[0]}
    stored, decoded = CLIP_SECONDS * geometry[0], frames * geometry[1]
    assert {sound.frames for sound in sounds} == {stored, decoded}


def test_clips_of_part_of_a_sample_are_refused_before_the_job(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", str(songs), "--output", str(tmp_path / "out"), "--clip-seconds"]
    assert cli.main([*command, "2.0001"]) == 1
    assert "found 2.0001 s x 44100 Hz = 88204.41: choose other" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_fine_model_without_fine_codebooks_is_refused_before_it_trains(
    songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset, output = tmp_path / "dataset", tmp_path / "fine"
    flags = ("--clip-seconds", CLIP_SECONDS, "--acoustic", "lite,coarse=12", "--mode", "in_memory")
    run("prepare", songs, "--output", dataset, *flags)
    command = ["train", "fine", "--data", str(dataset), "--output", str(output), "--steps", "1"]
    command += ["--crop-seconds", "0.5", "--preset", "tiny", "--device", "cpu"]
    assert cli.main(command) == 1
    assert "found 12 coarse of 12: it needs a dataset of a codec with" in capsys.readouterr().err
    assert not output.exists()
