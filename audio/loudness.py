"""Peak RMS of a clip, and the paper's loudness filter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.schemas.outcomes import DropReason
from singsong.schemas.recipe import LoudnessFilter, LoudnessWindow

VERSION = 2
"""Version of this step's arithmetic, part of the name of every part: raised when results change."""

OFFSET_HZ = 10.0
"""Slower than this, a signal is an offset; 3 Hz are removed, 20 Hz are left alone."""

_BLOCK_SECONDS = 0.005
_KERNEL_BLOCKS = 60

SILENCE_DB = -200.0
"""Level of digital silence, so that all stored levels are finite."""


def peak_rms_db(
    audio: npt.NDArray[np.float32],
    *,
    sample_rate_hz: int,
    rms_window: LoudnessWindow,
    keep_offset: bool = False,
) -> float:
    """Returns the largest short-time RMS of a clip, in dB relative to amplitude 1.0.

    An offset, constant or slow, is not heard and is removed first.

    Args:
        audio: float32 [samples].
        sample_rate_hz: Samples per second.
        rms_window: Length, hop and kind of the frames whose RMS is taken.
        keep_offset: Whether an offset counts as loud.

    Returns:
        dB, at least `SILENCE_DB`. A clip shorter than a frame is one frame.

    Paper: 4.2 names "peak RMS" and "line level" and defines neither.
    Default: rectangular frames and dBFS; kind "exp" follows SoX `stats` "RMS Pk dB", but for the
        offset.

    >>> tone = np.sin(2 * np.pi * 441 * np.arange(44100) / 44100).astype(np.float32)
    >>> round(peak_rms_db(tone, sample_rate_hz=44100, rms_window=LoudnessWindow()), 1)
    -3.0
    """
    if not len(audio):
        return SILENCE_DB
    heard = audio if keep_offset else without_offset(audio, sample_rate_hz=sample_rate_hz)
    power = np.square(heard, dtype=np.float64)
    samples = max(1, round(rms_window.seconds * sample_rate_hz))
    if rms_window.kind == "exp":
        peak = _exponential_peak(power, samples)
    else:
        peak = _rectangular_peak(power, samples, max(1, round(samples * rms_window.hop_fraction)))
    return float(max(SILENCE_DB, 10 * np.log10(max(peak, 1e-30))))


def without_offset(
    audio: npt.NDArray[np.float32], *, sample_rate_hz: int
) -> npt.NDArray[np.float32]:
    """Returns a clip less its offset, which may be constant or drift.

    The offset is what a low-pass at `OFFSET_HZ` leaves of the means of blocks of 5 ms, in straight
    lines from block to block.

    Args:
        audio: float32 [samples].
        sample_rate_hz: Samples per second.

    Returns:
        float32 [samples], a new array.

    >>> float(np.abs(without_offset(np.full(4410, 0.25, np.float32), sample_rate_hz=44100)).max())
    0.0
    """
    block = max(1, round(_BLOCK_SECONDS * sample_rate_hz))
    blocks = -(-len(audio) // block)
    if not blocks:
        return audio.copy()
    rest = audio[(blocks - 1) * block :]
    filler = np.full(block - len(rest), rest.mean(dtype=np.float64), np.float32)
    whole = np.concatenate([audio, filler]).reshape(blocks, block)
    means = np.pad(whole.mean(1, dtype=np.float64), _KERNEL_BLOCKS // 2 + 1, mode="reflect")
    slow = np.convolve(means, _low_pass(), mode="valid")
    borders = ((slow[1:] + slow[:-1]) / 2).astype(np.float32)
    line = ((np.arange(block) + 0.5) / block).astype(np.float32)
    offset = np.diff(borders)[:, None] * line
    offset += borders[:-1, None]
    heard: npt.NDArray[np.float32] = np.subtract(whole, offset, out=offset)
    return heard.reshape(-1)[: len(audio)]


def drop_reason(
    *, vocals_db: float, instrumental_db: float, loudness_filter: LoudnessFilter
) -> DropReason | None:
    """Returns the reason why a clip is dropped, or None if it is kept.

    Args:
        vocals_db: Peak RMS of the vocals.
        instrumental_db: Peak RMS of the instrumental.
        loudness_filter: The thresholds.

    Paper: 4.2: dropped when the instrumental is below -25 dB, or when the vocals are at least 5 dB
        above it. Nothing is dropped for lack of vocals.

    >>> drop_reason(vocals_db=-12, instrumental_db=-15, loudness_filter=LoudnessFilter())
    >>> drop_reason(vocals_db=-10, instrumental_db=-15, loudness_filter=LoudnessFilter())
    <DropReason.VOCALS_TOO_LOUD: 'vocals_too_loud'>
    >>> drop_reason(vocals_db=-50, instrumental_db=-26, loudness_filter=LoudnessFilter())
    <DropReason.INSTRUMENTAL_TOO_QUIET: 'instrumental_too_quiet'>
    """
    if instrumental_db < loudness_filter.min_instrumental_db:
        return DropReason.INSTRUMENTAL_TOO_QUIET
    if vocals_db >= instrumental_db + loudness_filter.max_vocals_above_db:
        return DropReason.VOCALS_TOO_LOUD
    return None


def _low_pass() -> npt.NDArray[np.float64]:
    """Returns a windowed sinc for a signal of one value a block, with a sum of 1."""
    at = np.arange(_KERNEL_BLOCKS + 1) - _KERNEL_BLOCKS / 2
    kernel = np.sinc(2 * OFFSET_HZ * _BLOCK_SECONDS * at) * np.hanning(_KERNEL_BLOCKS + 3)[1:-1]
    result: npt.NDArray[np.float64] = kernel / kernel.sum()
    return result


def _rectangular_peak(power: npt.NDArray[np.float64], samples: int, hop: int) -> float:
    if len(power) <= samples:
        return float(power.mean())
    starts = np.arange(0, len(power) - samples + 1, hop)
    # Sums between all frame borders avoid a running sum over samples.
    borders = np.union1d(starts, starts + samples)
    between = np.concatenate(
        [[0.0], np.cumsum(np.add.reduceat(power[: borders[-1]], borders[:-1]))]
    )
    before = np.searchsorted(borders, starts), np.searchsorted(borders, starts + samples)
    return float((between[before[1]] - between[before[0]]).max() / samples)


def _exponential_peak(power: npt.NDArray[np.float64], samples: int) -> float:
    from scipy.signal import lfilter  # takes two seconds to import; rarely needed

    decay = np.exp(-1.0 / samples)
    smooth = lfilter([1.0 - decay], [1.0, -decay], power)
    settled = smooth[5 * samples :]  # SoX ignores the start, where the average is not full yet
    return float(settled.max() if len(settled) else power.mean())
