"""Figures of a mix that people filter recordings by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from singsong.audio.frames import padded_frames
from singsong.schemas.arrays import FloatArray

_FULL_SCALE = 32767 / 32768
_RUN_SAMPLES = 4
_LEAST_CLIPPED_PEAK = 0.25
_FRAME_SAMPLES = 2048
_FRAMES = 32
_BAND_BINS = 8
_LEAST_SHARE = 1e-10
_LEAST_POWER = 1e-12


@dataclass(frozen=True, kw_only=True)
class MixFacts:
    """What is known of a mix.

    Attributes:
        dc_offset: Mean sample, full scale is 1.
        clipped_fraction: Part of the samples that are clipped.
        bandwidth_hz: Highest frequency with energy.
    """

    dc_offset: float
    clipped_fraction: float
    bandwidth_hz: float


def measure_mix(mix: FloatArray, *, sample_rate_hz: int) -> MixFacts:
    """Returns the figures of a mix.

    Args:
        mix: float32 [samples], finite.
        sample_rate_hz: Samples per second.

    >>> mix = np.tile(np.array([0.5, 0.25], np.float32), 5000)
    >>> measure_mix(mix, sample_rate_hz=44100).dc_offset
    0.375
    """
    return MixFacts(
        dc_offset=float(mix.mean(dtype=np.float64)),
        clipped_fraction=clipped_fraction(mix),
        bandwidth_hz=bandwidth_hz(mix, sample_rate_hz=sample_rate_hz),
    )


def clipped_fraction(mix: FloatArray) -> float:
    """Returns the part of the samples that are clipped.

    Those are samples at full scale or over it, and runs of at least four equal samples at the
    largest or the smallest value of the clip, for audio that was made quieter after it was clipped.
    A peak below a quarter of full scale is no clipping, and neither is a constant.

    Args:
        mix: float32 [samples].

    >>> clipped_fraction(np.array([0, 1, -1, 0.5], np.float32))
    0.5
    """
    lowest, highest = float(mix.min()), float(mix.max())
    clipped = 0
    if max(-lowest, highest) >= _FULL_SCALE:
        clipped = int(np.count_nonzero(np.abs(mix) >= _FULL_SCALE))
    for peak in {lowest, highest} if lowest < highest else ():
        if _LEAST_CLIPPED_PEAK <= abs(peak) < _FULL_SCALE:
            clipped += _in_runs(np.flatnonzero(mix == np.float32(peak)))
    return clipped / len(mix)


def _in_runs(places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
    """Returns how many of these ascending numbers are in a run of consecutive ones."""
    ends = np.flatnonzero(np.diff(places, append=-1) != 1)
    lengths = np.diff(ends, prepend=-1)
    return int(lengths[lengths >= _RUN_SAMPLES].sum())


def bandwidth_hz(mix: FloatArray, *, sample_rate_hz: int) -> float:
    """Returns the highest frequency with energy: the cutoff of a lossy encoder or an upsampling.

    It is the upper end of the highest band, 8 bins wide, in which each bin of the mean spectrum
    (of at most 32 frames of 2048 samples over the clip) is above -100 dB of the clip's power and
    above -120 dBFS, which the rounding to 16 bit stays below. 0 for silence.

    Args:
        mix: float32 [samples].
        sample_rate_hz: Samples per second.

    >>> noise = np.random.default_rng(0).standard_normal(44100).astype(np.float32)
    >>> round(bandwidth_hz(noise, sample_rate_hz=44100), 1)
    22050.0
    """
    whole = max(len(mix) // _FRAME_SAMPLES, 1) * _FRAME_SAMPLES
    frames = padded_frames(mix[:whole] - mix[:whole].mean(), _FRAME_SAMPLES)
    frames = frames[:: -(-len(frames) // _FRAMES)]
    # The squared Hann window falls off fast, so that a loud low note is not taken for treble.
    window = np.square(np.hanning(_FRAME_SAMPLES)).astype(np.float32)
    spectrum = np.fft.rfft(frames * window)
    powers = (spectrum.real**2 + spectrum.imag**2).mean(0, dtype=np.float64)
    powers *= 2 / (_FRAME_SAMPLES * float(np.square(window).sum()))
    has_energy = powers > max(_LEAST_POWER, _LEAST_SHARE * float(powers.sum()))
    bands = np.lib.stride_tricks.sliding_window_view(has_energy, _BAND_BINS).all(1)
    if not bands.any():
        return 0.0
    highest = int(np.flatnonzero(bands)[-1]) + _BAND_BINS - 1
    return highest * sample_rate_hz / _FRAME_SAMPLES
