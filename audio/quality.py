"""How near a decoded clip is to its original, and how well codes are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from singsong.schemas.arrays import FloatArray

POWER_FLOOR = 1e-9
"""Power per bin under which two spectra count as equally silent: -90 dB re full scale."""


def snr_db(reference: FloatArray, estimate: FloatArray) -> float:
    """Returns the signal-to-noise ratio of an estimate, in dB.

    Args:
        reference: float32 [samples], the original.
        estimate: float32 [samples].

    Returns:
        10 log10(energy / energy of the difference); infinite where the two are the same.

    Raises:
        ValueError: The two differ in shape, or the reference is silent.

    >>> round(snr_db(np.ones(4, np.float32), np.full(4, 0.9, np.float32)), 3)
    20.0
    """
    _check_shapes(reference, estimate)
    original, decoded = reference.astype(np.float64), estimate.astype(np.float64)
    energy = float(np.sum(original**2))
    error = float(np.sum((original - decoded) ** 2))
    if energy == 0:
        raise ValueError("the reference must not be silent, found no energy in it")
    return float("inf") if error == 0 else float(10 * np.log10(energy / error))


def log_spectral_distance_db(
    reference: FloatArray, estimate: FloatArray, *, window: int = 512, hop: int = 128
) -> float:
    """Returns the log-spectral distance of two clips, in dB.

    That is the root mean square, over the bins of a frame, of the difference of the two log power
    spectra (Hann window), averaged over frames. Both spectra are floored at `POWER_FLOOR`.

    Args:
        reference: float32 [samples].
        estimate: float32 [samples].
        window: Samples per frame.
        hop: Samples from frame to frame.

    Raises:
        ValueError: The two differ in shape, or are shorter than a window.

    >>> clip = np.sin(np.arange(2048, dtype=np.float32))
    >>> log_spectral_distance_db(clip, clip)
    0.0
    """
    _check_shapes(reference, estimate)
    if len(reference) < window:
        raise ValueError(
            f"clips must have at least window={window} samples, found {len(reference)}"
        )
    difference = _log_power(reference, window, hop) - _log_power(estimate, window, hop)
    return float(np.sqrt(np.mean(difference**2, axis=1)).mean())


def entropy_bits(codes: npt.NDArray[Any], *, codebook_size: int) -> float:
    """Returns the empirical entropy of codes in bits: log2(codebook_size) when all are as likely.

    Args:
        codes: Integers of any shape, below `codebook_size`.
        codebook_size: Number of different codes there could be.

    Raises:
        ValueError: There are no codes.

    >>> entropy_bits(np.array([0, 1, 2, 3]), codebook_size=1024)
    2.0
    """
    if codes.size == 0:
        raise ValueError("there must be codes to measure, found none")
    counts = np.bincount(codes.reshape(-1), minlength=codebook_size)
    shares = counts[counts > 0] / codes.size
    return float(-np.sum(shares * np.log2(shares)))


def perplexity(codes: npt.NDArray[Any], *, codebook_size: int) -> float:
    """Returns how many codes are in use, as 2 to the entropy: `codebook_size` at best.

    Args:
        codes: Integers of any shape, below `codebook_size`.
        codebook_size: Number of different codes there could be.

    Raises:
        ValueError: There are no codes.

    >>> round(perplexity(np.array([0, 1, 2, 3]), codebook_size=1024), 6)
    4.0
    """
    return float(2 ** entropy_bits(codes, codebook_size=codebook_size))


def _log_power(audio: FloatArray, window: int, hop: int) -> FloatArray:
    hann = np.hanning(window + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, window)[::hop] * hann
    power = np.abs(fft.rfft(frames, axis=1)) ** 2 / np.sum(hann**2)
    return np.asarray(10 * np.log10(power + POWER_FLOOR), np.float32)


def _check_shapes(reference: FloatArray, estimate: FloatArray) -> None:
    if reference.ndim != 1 or reference.shape != estimate.shape:
        raise ValueError(
            "both clips must be [samples] of one length, "
            f"found {reference.shape} and {estimate.shape}"
        )
