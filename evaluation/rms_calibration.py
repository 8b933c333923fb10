"""Counts clips with loud vocals for a grid of RMS windows, to find the paper's window.

The paper keeps the 10 s clips of MUSDB18 whose vocals have a peak RMS above -25 dB, and gets 1232
of the train set and 778 of the test set (4.1). It does not define "peak RMS"; the window with these
counts is a likely definition.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.audio.loudness import peak_rms_db
from singsong.audio.stem_file import write_vocals
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import WINDOW_KINDS, LoudnessWindow

PAPER_COUNTS = {"train": 1232, "test": 778}
RMS_WINDOWS = [
    *(
        LoudnessWindow(seconds=seconds, kind=kind)
        for seconds, kind in product((0.01, 0.025, 0.05, 0.1, 0.4, 1.0, 3.0), WINDOW_KINDS)
    ),
    LoudnessWindow(seconds=10.0),
]
_RATE_HZ = 44100


def vocal_tracks(folder: Path) -> list[Path]:
    """Returns the stem files of MUSDB18 and the `vocals.wav` files of MUSDB18-HQ below a folder.

    Raises:
        ValueError: The folder has no such files.
    """
    tracks = sorted([*folder.rglob("*.stem.mp4"), *folder.rglob("vocals.wav")])
    if not tracks:
        raise ValueError(f"{folder} has no *.stem.mp4 and no vocals.wav: is it MUSDB18?")
    return tracks


def count_clips(
    tracks: Iterable[Path], *, clip_seconds: float, threshold_db: float
) -> tuple[Counter[LoudnessWindow], int]:
    """Returns the number of clips above the threshold for each window, and of all clips.

    Args:
        tracks: Files from `vocal_tracks`.
        clip_seconds: Length of a clip.
        threshold_db: Level in dBFS that the peak RMS of the vocals must exceed.

    Raises:
        ClipError: A track cannot be decoded.
    """
    counts, total = Counter[LoudnessWindow](), 0
    for track in tracks:
        for clip in _vocal_clips(track, clip_samples(clip_seconds, _RATE_HZ)):
            total += 1
            for rms_window in RMS_WINDOWS:
                level = peak_rms_db(clip, sample_rate_hz=_RATE_HZ, rms_window=rms_window)
                counts[rms_window] += level > threshold_db
    return counts, total


def _vocal_clips(track: Path, samples: int) -> Iterator[npt.NDArray[np.float32]]:
    cutter = ClipCutter(clip_samples=samples)
    if track.suffix == ".wav":
        yield from cutter.cut(stream_mono(str(track), rate_hz=_RATE_HZ))
        return
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        write_vocals(str(track), file.name)
        yield from cutter.cut(stream_mono(file.name, rate_hz=_RATE_HZ))
