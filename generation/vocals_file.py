"""Reads vocals, and checks that what is made of them can be written. Loads no model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.audio.decode import read_channels
from singsong.audio.sound_formats import check_audio_fits
from singsong.schemas.errors import NonFiniteAudioError


def read_vocals(path: str, *, suffix: str, stem: bool) -> tuple[npt.NDArray[np.float32], int]:
    """Returns the vocals in a file, float32 [channels, samples], and their sample rate.

    Args:
        path: A local file.
        suffix: Of the files that the accompaniments will be written to, see `write_sound_file`.
        stem: Whether the instrumental is written alone, which has one channel.

    Raises:
        ClipError: The file cannot be decoded, its samples are not finite, or the format cannot hold
            the accompaniments.
    """
    vocals, rate_hz = read_channels(path)
    if not np.isfinite(vocals).all():
        raise NonFiniteAudioError("the vocals have samples that are NaN or infinite")
    check_audio_fits(suffix, channels=1 if stem else len(vocals), sample_rate_hz=rate_hz)
    return vocals, rate_hz
