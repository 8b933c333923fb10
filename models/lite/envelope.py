"""Spectral envelopes: one level per band of MDCT coefficients, and quantities derived from it."""

from __future__ import annotations

import torch

BAND_EDGES = (
    *(0, 2, 4, 6, 8, 10, 12, 15, 18, 22, 27, 33, 41, 50, 62, 76, 93, 115, 141, 173, 212, 261, 320),
)
"""First coefficient of each band, and the end of the last one: steps of 50 Hz up to 300 Hz, then
each band 22 % wider than the one below, for 320 coefficients up to 8 kHz."""
BANDS = len(BAND_EDGES) - 1
COEFFICIENTS = BAND_EDGES[-1]
FLOOR_DB = -90.0
"""The level of silence."""
_BLOCK = 8192
_LEAST_POWER = 1e-12


def band_powers(frames: torch.Tensor) -> torch.Tensor:
    """Returns the mean square of the coefficients of each band: float32 [frames, BANDS].

    Args:
        frames: float32 [frames, COEFFICIENTS].

    >>> band_powers(torch.full((1, 320), 2.0))[0, :2].tolist()
    [4.0, 4.0]
    """
    return frames.square() @ _membership().T / _widths()


def band_levels_db(frames: torch.Tensor) -> torch.Tensor:
    """Returns the level of each band in dB re 1, at least `FLOOR_DB`: float32 [frames, BANDS].

    Args:
        frames: float32 [frames, COEFFICIENTS].

    >>> band_levels_db(torch.zeros(1, 320))[0, :2].tolist()
    [-90.0, -90.0]
    """
    return 10 * torch.log10(band_powers(frames).clamp(min=10 ** (FLOOR_DB / 10)))


def spread(band_values: torch.Tensor) -> torch.Tensor:
    """Returns for each coefficient the value of its band: float32 [frames, COEFFICIENTS].

    Args:
        band_values: float32 [frames, BANDS].

    >>> spread(torch.arange(22.0)[None])[0, :5].tolist()
    [0.0, 0.0, 1.0, 1.0, 2.0]
    """
    return torch.repeat_interleave(band_values, _widths().to(torch.int64), dim=1)


def outlines(frames: torch.Tensor, *, level_weight: float) -> torch.Tensor:
    """Returns the vectors by which frames are compared: float32 [frames, BANDS + 1].

    Args:
        frames: float32 [frames, COEFFICIENTS].
        level_weight: Weight of the level of the whole frame, relative to that of one band.

    Returns:
        The level of each band, then the weighted level of the whole frame, in dB.

    >>> outlines(torch.full((1, 320), 0.1), level_weight=3)[0, -2:].tolist()
    [-20.0, -60.0]
    """
    mean = frames.square().mean(1, keepdim=True).clamp(min=10 ** (FLOOR_DB / 10))
    return torch.cat([band_levels_db(frames), level_weight * 10 * torch.log10(mean)], dim=1)


def scales(outline: torch.Tensor, *, whitening: float, level_weight: float) -> torch.Tensor:
    """Returns the divisors of frames with these outlines: float32 [frames, COEFFICIENTS].

    Args:
        outline: float32 [frames, BANDS + 1].
        whitening: Exponent of the envelope: 0 divides a frame by its RMS only, 1 divides each
            coefficient by its envelope.
        level_weight: As in `outlines`.

    >>> outline = outlines(torch.full((1, 320), 0.1), level_weight=3)
    >>> scales(outline, whitening=0.5, level_weight=3)[0, :2].tolist()
    [0.10000000149011612, 0.10000000149011612]
    """
    powers = 10 ** (outline[:, :BANDS] / 10)
    overall = 10 ** (outline[:, BANDS:] / level_weight / 20)
    return spread((powers / mean_power(powers)) ** (whitening / 2) * overall)


def mean_power(band_values: torch.Tensor) -> torch.Tensor:
    """Returns the mean power of all coefficients, given that of each band: float32 [frames, 1].

    Args:
        band_values: float32 [frames, BANDS].

    >>> mean_power(band_powers(torch.full((1, 320), 2.0))).tolist()
    [[4.0]]
    """
    return (band_values * _widths()).sum(1, keepdim=True) / COEFFICIENTS


def band_profile(frames: torch.Tensor) -> torch.Tensor:
    """Returns the average distribution of power inside the bands: float32 [COEFFICIENTS].

    Inside the last band power falls by 40 dB, the slope of the resampling filter. Noise without
    that slope would fill a gap that all resampled music has.

    Args:
        frames: float32 [frames, COEFFICIENTS], at least one frame.

    Returns:
        Power of each coefficient relative to its band, averaged in dB; its mean in each band is 1.

    >>> band_profile(torch.full((3, 320), 0.5))[:2].tolist()
    [1.0, 1.0]
    """
    total = torch.zeros(COEFFICIENTS, dtype=torch.float64)
    for block in frames.split(_BLOCK):
        decibels = 10 * torch.log10(block.square().clamp(min=_LEAST_POWER))
        total += (decibels - spread(band_levels_db(block))).sum(0, dtype=torch.float64)
    powers = (10 ** (total / len(frames) / 10)).to(torch.float32)[None]
    return (powers / spread(powers @ _membership().T / _widths()))[0]


def fill_amplitudes(
    frames: torch.Tensor,
    outline: torch.Tensor,
    *,
    profile: torch.Tensor,
    share: float,
    ceiling: float,
) -> torch.Tensor:
    """Returns the amplitude of the noise that raises frames to their envelopes.

    Noise in a loud band would cost more SNR than the better spectrum is worth, so the noise in each
    band is limited to a fraction of the frame's mean power.

    Args:
        frames: float32 [frames, COEFFICIENTS], decoded from shapes.
        outline: float32 [frames, BANDS + 1], with the band levels to reach.
        profile: float32 [COEFFICIENTS], the distribution of noise power inside each band.
        share: Amplitude of the noise relative to the missing amplitude.
        ceiling: Maximum noise power per coefficient, relative to the frame's mean power.

    Returns:
        float32 [frames, COEFFICIENTS].

    >>> wanted = outlines(torch.full((1, 320), 0.1), level_weight=3)
    >>> even = torch.ones(320)
    >>> fill = fill_amplitudes(torch.zeros(1, 320), wanted, profile=even, share=0.5, ceiling=1.0)
    >>> fill[0, :2].tolist()
    [0.05000000074505806, 0.05000000074505806]
    """
    powers = 10 ** (outline[:, :BANDS] / 10)
    gap = (powers - band_powers(frames)).clamp(min=0)
    return spread(torch.minimum(gap, ceiling * mean_power(powers)).sqrt() * share) * profile.sqrt()


def _widths() -> torch.Tensor:
    edges = torch.tensor(BAND_EDGES, dtype=torch.float32)
    return edges[1:] - edges[:-1]


def _membership() -> torch.Tensor:
    """Returns the band membership of coefficients: float32 [BANDS, COEFFICIENTS] of 0 and 1."""
    of_band = torch.repeat_interleave(torch.arange(BANDS), _widths().to(torch.int64))
    return (of_band == torch.arange(BANDS)[:, None]).to(torch.float32)
