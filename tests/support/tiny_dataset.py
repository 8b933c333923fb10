"""What docs and examples are run on: generated songs, a dataset of them, and a trained run."""

from pathlib import Path

from singsong.commands import cli

CLIP_SECONDS = "2"


def make_songs(folder: Path) -> Path:
    """Composes three songs of eight seconds and returns the folder of their mixes."""
    command = ["demo-songs", "--output", str(folder), "--songs", "3", "--seconds", "8"]
    assert cli.main(command) == 0
    return folder / "mixes"


def make_dataset(music: Path, folder: Path) -> Path:
    """Prepares the songs with the lite models, in clips of two seconds, with their audio."""
    command = ["prepare", str(music), "--output", str(folder), "--clip-seconds", CLIP_SECONDS]
    command += ["--splits", "train=60,validation=40", "--store-audio", "--workers", "1"]
    assert cli.main(command) == 0
    return folder


def make_run(dataset: Path, folder: Path) -> Path:
    """Trains the smallest model for two steps."""
    command = ["train", "accompaniment", "--data", str(dataset), "--output", str(folder)]
    command += ["--preset", "tiny", "--steps", "2", "--batch-size", "2", "--evaluate-every", "0"]
    assert cli.main([*command, "--device", "cpu"]) == 0
    return folder
