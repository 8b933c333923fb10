"""Tests a separator once, before any track, on a song whose vocals cannot be mistaken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.audio.separation import check_separation, measure_separation
from singsong.models.protocols import Separator, StereoSeparator
from singsong.schemas.arrays import FloatArray
from singsong.schemas.errors import BadSeparationError
from singsong.schemas.separation import SeparationLimits

SECONDS = 2.0
_NOTES_HZ = (220.0, 277.18, 329.63, 246.94)
_CHORD_HZ = (110.0, 138.59, 164.81)
_FORMANTS = ((700.0, 1.0), (1200.0, 0.6), (2600.0, 0.3))
_FORMANT_WIDTH_HZ = 150.0


class SeparatorCheckError(ValueError):
    """A separator does not do what every separator does; the message names both."""


def check_on_known_song(
    separator: Separator, limits: SeparationLimits, *, name: str, stereo: bool = False
) -> None:
    """Checks shape, type, values, lag, sign and level of the vocals of a composed song.

    It costs one batch of two seconds and is the same in every process. A separator that takes the
    synthetic voice for no voice passes: only vocals that can be heard are judged, as in a clip.

    Args:
        separator: The separator.
        limits: Those that clips are checked with.
        name: What the user calls the separator.
        stereo: Whether it gets two channels, which are equal here.

    Raises:
        SeparatorCheckError: A check fails.
    """
    rate_hz = separator.sample_rate_hz
    song = known_song(rate_hz)
    mix, separate = song[None], separator.separate_vocals
    if stereo:
        assert isinstance(separator, StereoSeparator)
        mix, separate = np.stack([song, song])[None], separator.separate_stereo
    given = mix.copy()
    vocals = separate(given)
    problem = _problem(vocals, given, mix)
    if problem is None:
        try:
            mono = vocals[0].mean(axis=0) if stereo else vocals[0]
            found = measure_separation(song, mono, sample_rate_hz=rate_hz)
            check_separation(found, limits)
        except BadSeparationError as error:
            problem = str(error)
    if problem is not None:
        raise SeparatorCheckError(
            f"the separator {name} fails the test that precedes all tracks: {problem}. Repair it, "
            "or choose another with --separator; --no-separation-check believes any vocals of the "
            "right shape"
        )


def _problem(vocals: FloatArray, given: FloatArray, mix: FloatArray) -> str | None:
    """Returns what is wrong with the array itself, or None."""
    if not isinstance(vocals, np.ndarray) or vocals.dtype != np.float32:
        kind = vocals.dtype if isinstance(vocals, np.ndarray) else type(vocals).__name__
        return f"its vocals must be an array of float32, found {kind}"
    if vocals.shape != given.shape:
        return f"its vocals must have the shape of the mix, {given.shape}, found {vocals.shape}"
    if not np.isfinite(vocals).all():
        return "its vocals are NaN or infinite in places"
    if not np.array_equal(given, mix):
        return "it changes the mix that it is given, so that vocals and instrumental do not sum"
    return None


def known_song(sample_rate_hz: int) -> FloatArray:
    """Returns a song of two seconds: a voice with vibrato and formants over decaying chords.

    Args:
        sample_rate_hz: Samples per second.

    Returns:
        float32 [samples] in [-1, 1], the same on each call.

    >>> known_song(44100).shape
    (88200,)
    """
    time = np.arange(round(SECONDS * sample_rate_hz)) / sample_rate_hz
    beat = np.minimum((time * 2).astype(int), len(_NOTES_HZ) - 1)
    within = time * 2 - beat
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * 5.5 * time)
    pitch = np.asarray(_NOTES_HZ)[beat] * vibrato
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate_hz
    voice = sum(
        _formant_gain(number * pitch) * np.sin(number * phase)
        for number in range(1, 12)
        if number * max(_NOTES_HZ) * 1.02 < sample_rate_hz / 2
    )
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in _CHORD_HZ if hz < sample_rate_hz / 2)
    envelope = np.sin(np.pi * np.clip(within / 0.9, 0, 1)) ** 0.5
    song = 0.25 * voice * envelope + 0.3 * chord * np.exp(-4 * within)
    return np.asarray(song / np.abs(song).max() * 0.7, np.float32)


def _formant_gain(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    gain = np.full_like(hz, 0.05)
    for centre, level in _FORMANTS:
        gain += level / (1 + ((hz - centre) / _FORMANT_WIDTH_HZ) ** 2)
    return gain
