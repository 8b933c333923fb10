"""The formats of sound files that can be written, and what each holds.

No libraries, so that the command line checks an output at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from singsong.schemas.errors import UnwritableAudioError

FORMATS: Mapping[str, tuple[str, str]] = {
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".m4a": ("M4A", "AAC"),
}
"""Format and coding by suffix; libsndfile's names, except for m4a, which ffmpeg writes."""

_MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES_HZ = (*_MP3_RATES_HZ, 64000, 88200, 96000)
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
    if suffix == ".m4a" and (sample_rate_hz not in _AAC_RATES_HZ or channels > 2):
        raise UnwritableAudioError(
            f"an m4a is written with one or two channels at {_AAC_RATES_HZ} Hz, "
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
