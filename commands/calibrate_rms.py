"""Counts MUSDB18 clips by the loudness of their vocals; flags are in `calibrate_rms_arguments`."""

from __future__ import annotations

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
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import WINDOW_KINDS, LoudnessWindow

PAPER_COUNTS = {"train": 1232, "test": 778}
WINDOWS = [
    *(
        LoudnessWindow(seconds=seconds, kind=kind)
        for seconds, kind in product((0.01, 0.025, 0.05, 0.1, 0.4, 1.0, 3.0), WINDOW_KINDS)
    ),
    LoudnessWindow(seconds=10.0),
]
_RATE_HZ = 44100


def vocal_tracks(folder: Path) -> list[Path]:
    """Returns the stem files and the `vocals.wav` files below a folder.

    Raises:
        ValueError: There are none.
    """
    tracks = sorted([*folder.rglob("*.stem.mp4"), *folder.rglob("vocals.wav")])
    if not tracks:
        raise ValueError(
            f"{folder} holds neither *.stem.mp4 nor vocals.wav: name a folder of MUSDB18"
        )
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
                level = peak_rms_db(clip, sample_rate_hz=_RATE_HZ, rms_window=window)
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


def calibrate(folder: Path, *, subset: str, clip_seconds: float, threshold_db: float) -> int:
    """Prints the counts beside those of the paper, and returns the exit code.

    Args:
        folder: A subset of MUSDB18.
        subset: "train" or "test".
        clip_seconds: Length of a clip.
        threshold_db: dBFS that the peak RMS of the vocals must exceed.

    Raises:
        ValueError: The folder is not MUSDB18.
        ClipError: A track cannot be decoded.
    """
    counts, total = count_clips(
        vocal_tracks(folder), clip_seconds=clip_seconds, threshold_db=threshold_db
    )
    paper = PAPER_COUNTS[subset]
    print(f"{total} clips in all; the paper kept {paper} of the {subset} set")
    print(f"{'window':<22}{'clips':>8}{'- paper':>10}")
    for window in WINDOWS:
        name = f"{window.kind} {window.seconds * 1000:g} ms"
        print(f"{name:<22}{counts[window]:>8}{counts[window] - paper:>+10}")
    return ExitCode.DONE
