"""Writes audio to a file that a person can play."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import soundfile

from schemas import storage

FloatArray = npt.NDArray[np.float32]

FORMATS: Mapping[str, tuple[str, str]] = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
"""libsndfile's format and subtype by suffix."""

_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def check_sound_file(url: str) -> None:
    """Checks that the suffix names a format that can be written.

    Raises:
        ValueError: It does not.

    >>> check_sound_file("gs://bucket/mix.flac")
    """
    if _suffix(url) not in FORMATS:
        raise ValueError(f"the output must end in one of {', '.join(FORMATS)}, found {url!r}")


def write_sound_file(url: str, audio: FloatArray, *, sample_rate_hz: int) -> float:
    """Writes audio in the format of its suffix, whole or not at all; returns what it was scaled by.

    What is over full scale is scaled down as a whole, and nothing is clipped.

    Args:
        url: Local path or fsspec URL that ends in .wav, .flac or .mp3.
        audio: float32 [channels, samples], one or two channels in an mp3.
        sample_rate_hz: Its rate.

    Raises:
        ValueError: The format is another, or cannot hold such audio.
        OSError: The place cannot be written.
    """
    check_sound_file(url)
    suffix = _suffix(url)
    kind, subtype = FORMATS[suffix]
    if kind == "MP3" and (sample_rate_hz not in _MP3_RATES_HZ or len(audio) > 2):
        raise ValueError(
            f"an mp3 holds one or two channels at {_MP3_RATES_HZ} Hz, "
            f"found {len(audio)} at {sample_rate_hz} Hz: write .wav or .flac"
        )
    scale = 1 / max(1.0, float(np.abs(audio).max(initial=0.0)))
    with tempfile.TemporaryDirectory(prefix="singsong-") as folder:
        path = os.path.join(folder, f"sound{suffix}")
        soundfile.write(path, audio.T * np.float32(scale), sample_rate_hz, subtype, format=kind)
        with open(path, "rb") as file:
            storage.put_file(url, file)
    return scale


def _suffix(url: str) -> str:
    return os.path.splitext(url)[1].lower()
