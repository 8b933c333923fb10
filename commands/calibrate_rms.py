"""Counts the MUSDB18 clips with loud vocals, for a grid of loudness windows.

    singsong calibrate-rms ~/musdb18/test --subset test

The paper keeps the 10 s clips whose vocals have a peak RMS above -25 dB, and gets 1232 of the train
set and 778 of the test set (4.3); it does not say what "peak RMS" is. Whoever holds MUSDB18 sees
here which window gives those counts. Reads `*.stem.mp4` and the folders of MUSDB18-HQ.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.audio.loudness import peak_rms_db
from singsong.audio.stem_file import write_vocals
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import WINDOW_KINDS, LoudnessFilter, LoudnessWindow

PAPER_COUNTS = {"train": 1232, "test": 778}
WINDOWS = [
    *(
        LoudnessWindow(seconds=seconds, kind=kind)
        for seconds, kind in product((0.01, 0.025, 0.05, 0.1, 0.4, 1.0, 3.0), WINDOW_KINDS)
    ),
    LoudnessWindow(seconds=10.0),
]
_RATE_HZ = 44100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong calibrate-rms`."""
    parser.add_argument("musdb", type=Path, metavar="FOLDER")
    parser.add_argument("--subset", choices=sorted(PAPER_COUNTS), default="test")
    parser.add_argument("--clip-seconds", type=float, default=10.0)
    parser.add_argument("--threshold-db", type=float, default=LoudnessFilter().min_instrumental_db)


def vocal_tracks(folder: Path) -> list[Path]:
    """Returns the stem files and the `vocals.wav` files below a folder.

    Raises:
        ValueError: There are none.
    """
    tracks = sorted([*folder.rglob("*.stem.mp4"), *folder.rglob("vocals.wav")])
    if not tracks:
        raise ValueError(f"{folder} holds no *.stem.mp4 and no vocals.wav: is it MUSDB18?")
    return tracks


def count_clips(
    tracks: Sequence[Path], *, clip_seconds: float, threshold_db: float
) -> tuple[Counter[LoudnessWindow], int]:
    """Returns how many clips are above the threshold for each window, and how many there are.

    Args:
        tracks: As `vocal_tracks` gives them.
        clip_seconds: Length of a clip.
        threshold_db: dBFS that the peak RMS of the vocals must exceed.

    Raises:
        ClipError: A track cannot be decoded.
    """
    counts, total = Counter[LoudnessWindow](), 0
    for track in tqdm(tracks, unit="track", disable=None):
        for clip in _vocal_clips(track, clip_samples(clip_seconds, _RATE_HZ)):
            total += 1
            for window in WINDOWS:
                level = peak_rms_db(clip, sample_rate_hz=_RATE_HZ, window=window)
                counts[window] += level > threshold_db
    return counts, total


def _vocal_clips(track: Path, samples: int) -> Iterator[npt.NDArray[np.float32]]:
    cutter = ClipCutter(clip_samples=samples)
    if track.suffix == ".wav":
        yield from cutter.cut(stream_mono(str(track), rate_hz=_RATE_HZ))
        return
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        write_vocals(str(track), file.name)
        yield from cutter.cut(stream_mono(file.name, rate_hz=_RATE_HZ))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `singsong calibrate-rms` and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="singsong calibrate-rms",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    counts, total = count_clips(
        vocal_tracks(args.musdb), clip_seconds=args.clip_seconds, threshold_db=args.threshold_db
    )
    paper = PAPER_COUNTS[args.subset]
    print(f"{total} clips in all; the paper kept {paper} of the {args.subset} set")
    print(f"{'window':<22}{'clips':>8}{'- paper':>10}")
    for window in WINDOWS:
        name = f"{window.kind} {window.seconds * 1000:g} ms"
        print(f"{name:<22}{counts[window]:>8}{counts[window] - paper:>+10}")
    return 0
