"""Measures of the quality of a decoded clip, and of how evenly codes are used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from singsong.schemas.arrays import FloatArray

POWER_FLOOR = 1e-9
"""Power per bin below which spectra count as silent: -90 dB re full scale."""


def snr_db(reference: FloatArray, estimate: FloatArray) -> float:
    """Returns the signal-to-noise ratio of an estimate, in dB.

    Args:
        reference: float32 [samples], the original.
        estimate: float32 [samples].

    Returns:
        10 log10(energy / energy of the difference); infinite if they are equal.

    Raises:
        ValueError: The shapes differ, or the reference is silent.

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


def si_sdr_db(reference: FloatArray, estimate: FloatArray) -> float:
    """Returns the scale-invariant signal-to-distortion ratio of an estimate, in dB.

    Args:
        reference: float32 [samples], the original.
        estimate: float32 [samples]; a gain of it changes nothing.

    Returns:
        10 log10(energy of the projection of the estimate on the reference / energy of the rest).

    Raises:
        ValueError: The shapes differ, or the reference is silent.

    >>> clip = np.array([1, 1, 1, 1], np.float32)
    >>> round(si_sdr_db(clip, np.array([3, 1, 3, 1], np.float32)), 3)
    6.021
    """
    _check_shapes(reference, estimate)
    original, decoded = reference.astype(np.float64), estimate.astype(np.float64)
    energy = float(original @ original)
    if energy == 0:
        raise ValueError("the reference must not be silent, found no energy in it")
    target = original * (decoded @ original / energy)
    rest = float(np.sum((decoded - target) ** 2))
    with np.errstate(divide="ignore"):
        return float("inf") if rest == 0 else float(10 * np.log10(target @ target / rest))


def level_error_db(reference: FloatArray, estimate: FloatArray) -> float:
    """Returns by how many dB the RMS level of an estimate is above that of the reference.

    Args:
        reference: float32 [samples], the original.
        estimate: float32 [samples].

    Raises:
        ValueError: The shapes differ, or one of them is silent.

    >>> round(level_error_db(np.ones(4, np.float32), np.full(4, 0.5, np.float32)), 3)
    -6.021
    """
    _check_shapes(reference, estimate)
    powers = [float(np.mean(clip.astype(np.float64) ** 2)) for clip in (estimate, reference)]
    if 0 in powers:
        raise ValueError("neither clip may be silent, found no energy in one")
    return float(10 * np.log10(powers[0] / powers[1]))


def log_spectral_distance_db(
    reference: FloatArray, estimate: FloatArray, *, frame_samples: int = 512, hop_samples: int = 128
) -> float:
    """Returns the log-spectral distance of two clips, in dB.

    That is the RMS over bins of the difference of the two log power spectra (Hann window), averaged
    over frames. Both spectra are floored at `POWER_FLOOR`.

    Args:
        reference: float32 [samples].
        estimate: float32 [samples].
        frame_samples: Samples per frame.
        hop_samples: Samples from frame to frame.

    Raises:
        ValueError: The shapes differ, or the clips are shorter than a frame.

    >>> clip = np.sin(np.arange(2048, dtype=np.float32))
    >>> log_spectral_distance_db(clip, clip)
    0.0
    """
    _check_shapes(reference, estimate)
    if len(reference) < frame_samples:
        raise ValueError(
            f"clips must have at least {frame_samples} samples, found {len(reference)}"
        )
    difference = _log_power(reference, frame_samples, hop_samples)
    difference = difference - _log_power(estimate, frame_samples, hop_samples)
    return float(np.sqrt(np.mean(difference**2, axis=1)).mean())


def entropy_bits(codes: npt.NDArray[np.integer], *, codebook_size: int) -> float:
    """Returns the empirical entropy of codes in bits: at most log2(codebook_size).

    Args:
        codes: Integers of any shape, below `codebook_size`.
        codebook_size: Number of possible codes.

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


def perplexity(codes: npt.NDArray[np.integer], *, codebook_size: int) -> float:
    """Returns the perplexity of codes, 2 to their entropy: at most `codebook_size`.

    Args:
        codes: Integers of any shape, below `codebook_size`.
        codebook_size: Number of possible codes.

    Raises:
        ValueError: There are no codes.

    >>> round(perplexity(np.array([0, 1, 2, 3]), codebook_size=1024), 6)
    4.0
    """
    return float(2 ** entropy_bits(codes, codebook_size=codebook_size))


def _log_power(audio: FloatArray, frame_samples: int, hop_samples: int) -> FloatArray:
    hann = np.hanning(frame_samples + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, frame_samples)[::hop_samples] * hann
    power = np.abs(fft.rfft(frames, axis=1)) ** 2 / np.sum(hann**2)
    return np.asarray(10 * np.log10(power + POWER_FLOOR), np.float32)


def _check_shapes(reference: FloatArray, estimate: FloatArray) -> None:
    if reference.ndim != 1 or reference.shape != estimate.shape:
        raise ValueError(
            "both clips must be [samples] of one length, "
            f"found {reference.shape} and {estimate.shape}"
        )
