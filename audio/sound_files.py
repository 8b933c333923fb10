"""Writes audio to a file that a person can play."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import soundfile

from singsong import storage
from singsong.schemas.errors import UnwritableAudioError

FloatArray = npt.NDArray[np.float32]

FORMATS: Mapping[str, tuple[str, str]] = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
"""libsndfile's format and subtype by suffix."""

_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_FLAC_CHANNELS = 8


def check_sound_file(url: str) -> None:
    """Checks that the suffix names a format that can be written.

    Raises:
        ValueError: It does not.

    >>> check_sound_file("gs://bucket/mix.flac")
    """
    if suffix_of(url) not in FORMATS:
        raise ValueError(f"the output must end in one of {', '.join(FORMATS)}, found {url!r}")


def check_audio_fits(suffix: str, *, channels: int, sample_rate_hz: int) -> None:
    """Checks that a format holds audio of some channels and rate.

    Args:
        suffix: Of a file, such as ".mp3".
        channels: How many.
        sample_rate_hz: Samples per second.

    Raises:
        UnwritableAudioError: It does not.
    """
    if suffix == ".mp3" and (sample_rate_hz not in _MP3_RATES_HZ or channels > 2):
        raise UnwritableAudioError(
            f"an mp3 holds one or two channels at {_MP3_RATES_HZ} Hz, "
            f"found {channels} at {sample_rate_hz} Hz: write .wav or .flac"
        )
    if suffix == ".flac" and channels > _FLAC_CHANNELS:
        raise UnwritableAudioError(
            f"a flac holds up to {_FLAC_CHANNELS} channels, found {channels}: write .wav"
        )


def suffix_of(url: str) -> str:
    """Returns the suffix of a path or URL in small letters.

    >>> suffix_of("gs://bucket/Mix.FLAC")
    '.flac'
    """
    return os.path.splitext(url)[1].lower()


def write_sound_file(url: str, audio: FloatArray, *, sample_rate_hz: int) -> float:
    """Writes audio in the format of its suffix, whole or not at all; returns what it was scaled by.

    What is over full scale is scaled down as a whole, and nothing is clipped.

    Args:
        url: Local path or fsspec URL that ends in .wav, .flac or .mp3.
        audio: float32 [channels, samples].
        sample_rate_hz: Its rate.

    Raises:
        ValueError: The format is another.
        UnwritableAudioError: It cannot hold such audio.
        OSError: The place cannot be written.
    """
    check_sound_file(url)
    suffix = suffix_of(url)
    kind, subtype = FORMATS[suffix]
    check_audio_fits(suffix, channels=len(audio), sample_rate_hz=sample_rate_hz)
    scale = 1 / max(1.0, float(np.abs(audio).max(initial=0.0)))
    with tempfile.TemporaryDirectory(prefix="singsong-") as folder:
        path = os.path.join(folder, f"sound{suffix}")
        soundfile.write(path, audio.T * np.float32(scale), sample_rate_hz, subtype, format=kind)
        with open(path, "rb") as file:
            storage.put_file(url, file)
    return scale
