"""Features of audio frames: spectral shape, level and pitch classes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import fft

from singsong.schemas.arrays import FloatArray

WINDOW_SAMPLES = 2048
MELS = 48
PITCH_CLASSES = 12
FEATURES = MELS + 1 + PITCH_CLASSES
"""Mel shape, level and pitch classes, in this order."""
POWER_FLOOR = 1e-8
"""Mel power below which a band counts as silent: -80 dB re full scale."""

_LOWEST_PITCH_HZ = 110.0
_HIGHEST_PITCH_HZ = 3520.0
# The Slaney mel scale: linear up to 1 kHz, logarithmic above it.
_LINEAR_HZ = 200.0 / 3
_CORNER_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27


def log_mel_chroma(audio: FloatArray, *, sample_rate_hz: int, hop: int) -> FloatArray:
    """Returns the features of each frame of a clip: float32 [frames, FEATURES].

    Frame t is centred on samples [t * hop, (t + 1) * hop); the clip is padded with zeros.

    Args:
        audio: float32 [samples] in [-1, 1], at least one sample.
        sample_rate_hz: Samples per second.
        hop: Samples per frame.

    Returns:
        `MELS` mel band powers in dB minus their mean over the bands, that mean in dB, and the
        square root of the power share of each of the 12 pitch classes from C (equal in silence).

    Raises:
        ValueError: The audio is not one-dimensional, or is empty.

    >>> log_mel_chroma(np.ones(1000, np.float32), sample_rate_hz=16000, hop=640).shape
    (2, 61)
    """
    power = _power_spectra(audio, hop)
    mel = _filtered(power, mel_filters(sample_rate_hz=sample_rate_hz))
    mel_db = 10 * np.log10(np.maximum(mel, POWER_FLOOR))
    level_db = mel_db.mean(axis=1, keepdims=True)
    # The floor gives near silence equal pitch classes instead of random ones.
    chroma = _filtered(power, chroma_filters(sample_rate_hz=sample_rate_hz)) + POWER_FLOOR
    shares = np.sqrt(chroma / chroma.sum(axis=1, keepdims=True))
    return np.concatenate([mel_db - level_db, level_db, shares], axis=1).astype(np.float32)


@lru_cache(maxsize=4)
def mel_filters(*, sample_rate_hz: int) -> FloatArray:
    """Returns triangles of height 1, evenly spaced on the Slaney mel scale: float32 [MELS, bins].

    Args:
        sample_rate_hz: Sample rate of the audio.

    >>> mel_filters(sample_rate_hz=16000).shape
    (48, 1025)
    """
    corners = _mel_to_hz(np.linspace(0, _hz_to_mel(sample_rate_hz / 2), MELS + 2))
    bins = fft.rfftfreq(WINDOW_SAMPLES, 1 / sample_rate_hz)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
    return np.maximum(triangles, 0).astype(np.float32)


@lru_cache(maxsize=4)
def chroma_filters(*, sample_rate_hz: int) -> FloatArray:
    """Returns the weight of each FFT bin in each pitch class: float32 [12, bins].

    A bin between two semitones is split between them in proportion. Bins outside the five octaves
    from 110 Hz have no weight: lower bins are wider than semitones, higher ones hold overtones.

    Args:
        sample_rate_hz: Sample rate of the audio.

    >>> chroma_filters(sample_rate_hz=16000).shape
    (12, 1025)
    """
    bins = fft.rfftfreq(WINDOW_SAMPLES, 1 / sample_rate_hz)
    heard = (bins >= _LOWEST_PITCH_HZ) & (bins <= _HIGHEST_PITCH_HZ)
    # Semitones above C; A4 = 440 Hz is 9.
    pitch = 12 * np.log2(np.where(heard, bins, 440.0) / 440.0) + 9
    distance = np.abs((pitch - np.arange(PITCH_CLASSES)[:, None] + 6) % 12 - 6)
    return (np.maximum(1 - distance, 0) * heard).astype(np.float32)


def _power_spectra(audio: FloatArray, hop: int) -> FloatArray:
    """Returns power spectra [frames, bins]; the bins sum to about the mean square of a frame."""
    if audio.ndim != 1 or len(audio) == 0:
        raise ValueError(f"audio must be [samples] and not empty, found {audio.shape}")
    frames = -(-len(audio) // hop)
    before = (WINDOW_SAMPLES - hop) // 2
    padded = np.zeros((frames - 1) * hop + WINDOW_SAMPLES, np.float32)
    heard = audio[: len(padded) - before]
    padded[before : before + len(heard)] = heard
    hann = np.hanning(WINDOW_SAMPLES + 1)[:-1].astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::hop] * hann
    scale = 2 / (WINDOW_SAMPLES * np.sum(hann**2))
    return np.asarray(np.abs(fft.rfft(windows, axis=1)) ** 2 * scale, np.float32)


def _filtered(power: FloatArray, filters: FloatArray) -> FloatArray:
    """Returns band powers [frames, bands], by torch, whose threads the pipeline limits."""
    product = torch.from_numpy(power) @ torch.from_numpy(filters).T
    return np.asarray(product.numpy(), np.float32)


def _hz_to_mel(hz: float) -> float:
    if hz < _CORNER_HZ:
        return hz / _LINEAR_HZ
    return float(_CORNER_HZ / _LINEAR_HZ + np.log(hz / _CORNER_HZ) / _LOG_STEP)


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    corner = _CORNER_HZ / _LINEAR_HZ
    above = _CORNER_HZ * np.exp(_LOG_STEP * (mel - corner))
    return np.where(mel < corner, mel * _LINEAR_HZ, above)
