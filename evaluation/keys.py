"""Estimates the key of music, and scores the agreement of two keys."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.schemas.arrays import FloatArray
from singsong.synth.score import Key, Mode

_PITCH_CLASSES = 12
_PROFILES: dict[Mode, tuple[float, ...]] = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""Fit of each pitch class to a key, from the probe-tone experiments of Krumhansl & Kessler."""


def estimate_key(audio: FloatArray, *, sample_rate_hz: int) -> Key | None:
    """Returns the key whose profile fits the audio best, or None for silence.

    Args:
        audio: float32 [samples].
        sample_rate_hz: Its sample rate.

    Paper: 5, for the retrieval baseline.
    Differs: key profiles instead of a trained network.
    """
    from librosa.effects import harmonic
    from librosa.feature import chroma_cqt

    if not np.any(audio):
        return None
    tonal = harmonic(y=audio)
    chroma = chroma_cqt(y=tonal, sr=sample_rate_hz).mean(axis=1)
    if chroma.std() == 0:
        return None
    return key_of_chroma(chroma)


def key_of_chroma(chroma: npt.NDArray[np.floating]) -> Key:
    """Returns the key whose profile correlates best with a chroma vector [12].

    >>> key_of_chroma(np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1.0])).name
    'C major'
    """
    fits = {
        Key(tonic=tonic, mode=mode): np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]
        for mode, profile in _PROFILES.items()
        for tonic in range(_PITCH_CLASSES)
    }
    return max(fits, key=lambda key: float(fits[key]))


def key_agreement(reference: Key, estimate: Key | None) -> float:
    """Returns the MIREX key detection score: 1 for the same key, less for a related one.

    A fifth apart scores 0.5, the relative key 0.3, the parallel key 0.2, all others 0.

    >>> key_agreement(Key(tonic=0, mode="major"), Key(tonic=9, mode="minor"))
    0.3
    """
    if estimate is None:
        return 0.0
    if estimate == reference:
        return 1.0
    up = (estimate.tonic - reference.tonic) % _PITCH_CLASSES
    if estimate.mode == reference.mode:
        return 0.5 if up in (5, 7) else 0.0
    if up == 0:
        return 0.2
    return 0.3 if up == (3 if reference.mode == "minor" else 9) else 0.0
