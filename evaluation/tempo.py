"""Estimates the tempo of music, and tells whether two tempi agree."""

from __future__ import annotations

import math

import numpy as np

from singsong.schemas.arrays import FloatArray

_HOP_SAMPLES = 128
TOLERANCE = 0.04
"""Relative difference up to which two tempi agree, as in MIREX tempo estimation."""


def estimate_tempo(audio: FloatArray, *, sample_rate_hz: int) -> float | None:
    """Returns the tempo in beats per minute, or None if there are no onsets.

    Args:
        audio: float32 [samples], at least five seconds for a useful estimate.
        sample_rate_hz: Its sample rate.

    Paper: 5, for the retrieval baseline.
    Differs: the autocorrelation of onset strength instead of a trained network.
    """
    from librosa.feature import tempo as estimated_tempo
    from librosa.onset import onset_strength

    onsets = onset_strength(y=audio, sr=sample_rate_hz, hop_length=_HOP_SAMPLES)
    if not np.any(onsets):
        return None
    tempo = estimated_tempo(onset_envelope=onsets, sr=sample_rate_hz, hop_length=_HOP_SAMPLES)
    return float(tempo[0])


def fold_ratio(ratio: float) -> float:
    """Returns a ratio of tempi, doubled or halved until it is closest to 1.

    Raises:
        ValueError: The ratio is not positive.

    >>> fold_ratio(0.24), fold_ratio(1.0), fold_ratio(4.4)
    (0.96, 1.0, 1.1)
    """
    if not ratio > 0:
        raise ValueError(f"ratio must be positive, found {ratio}")
    return math.ldexp(ratio, -round(math.log2(ratio)))


def tempo_agrees(reference_bpm: float, estimate_bpm: float | None) -> bool:
    """Returns whether two tempi agree up to powers of two.

    >>> tempo_agrees(100, 203), tempo_agrees(100, 110), tempo_agrees(100, None)
    (True, False, False)
    """
    if estimate_bpm is None:
        return False
    return abs(fold_ratio(estimate_bpm / reference_bpm) - 1) <= TOLERANCE
