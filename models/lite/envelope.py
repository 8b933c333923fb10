"""Spectral envelopes: one level per band of MDCT coefficients, and what is made from them."""

from __future__ import annotations

import torch

BAND_EDGES = (
    *(0, 2, 4, 6, 8, 10, 12, 15, 18, 22, 27, 33, 41, 50, 62, 76, 93, 115, 141, 173, 212, 261, 320),
)
"""First coefficient of each band, and the end of the last: even steps of 50 Hz to 300 Hz, then
22 % wider from band to band, for 320 coefficients up to 8 kHz."""
BANDS = len(BAND_EDGES) - 1
COEFFICIENTS = BAND_EDGES[-1]
FLOOR_DB = -90.0
"""The level of silence."""
LEVEL_WEIGHT = 3.0
"""How much more the overall level counts in an outline than the level of one band. Shapes are in
units of it, so a wrong level costs all of them; 3 gained 0.1 dB over the bands alone."""

_BLOCK = 8192
_LEAST_POWER = 1e-12


def band_powers(frames: torch.Tensor) -> torch.Tensor:
    """Returns the mean square of the coefficients of each band: float32 [frames, BANDS].

    Args:
        frames: float32 [frames, COEFFICIENTS].

    >>> band_powers(torch.full((1, 320), 2.0))[0, :2].tolist()
    [4.0, 4.0]
    """
    return frames.square() @ _members().T / _widths()


def band_levels_db(frames: torch.Tensor) -> torch.Tensor:
    """Returns the level of each band in dB re 1, never under `FLOOR_DB`: float32 [frames, BANDS].

    Args:
        frames: float32 [frames, COEFFICIENTS].

    >>> band_levels_db(torch.zeros(1, 320))[0, :2].tolist()
    [-90.0, -90.0]
    """
    return 10 * torch.log10(band_powers(frames).clamp(min=10 ** (FLOOR_DB / 10)))


def spread(band_values: torch.Tensor) -> torch.Tensor:
    """Returns the value of its band at each coefficient: float32 [frames, COEFFICIENTS].

    Args:
        band_values: float32 [frames, BANDS].

    >>> spread(torch.arange(22.0)[None])[0, :5].tolist()
    [0.0, 0.0, 1.0, 1.0, 2.0]
    """
    return torch.repeat_interleave(band_values, _widths().to(torch.int64), dim=1)


def outlines(frames: torch.Tensor) -> torch.Tensor:
    """Returns what frames are compared by: float32 [frames, BANDS + 1].

    Args:
        frames: float32 [frames, COEFFICIENTS].

    Returns:
        The level of each band, then that of the whole frame times `LEVEL_WEIGHT`, in dB.

    >>> outlines(torch.full((1, 320), 0.1))[0, -2:].tolist()
    [-20.0, -60.0]
    """
    mean = frames.square().mean(1, keepdim=True).clamp(min=10 ** (FLOOR_DB / 10))
    return torch.cat([band_levels_db(frames), LEVEL_WEIGHT * 10 * torch.log10(mean)], dim=1)


def scales(outline: torch.Tensor, *, whitening: float) -> torch.Tensor:
    """Returns what frames of these outlines are divided by: float32 [frames, COEFFICIENTS].

    Args:
        outline: float32 [frames, BANDS + 1].
        whitening: 0 divides a frame by its overall root mean square alone, 1 each coefficient by
            its envelope; between them the envelope counts to that power.

    >>> scales(outlines(torch.full((1, 320), 0.1)), whitening=0.5)[0, :2].tolist()
    [0.10000000149011612, 0.10000000149011612]
    """
    powers = 10 ** (outline[:, :BANDS] / 10)
    mean = (powers * _widths()).sum(1, keepdim=True) / COEFFICIENTS
    overall = 10 ** (outline[:, BANDS:] / LEVEL_WEIGHT / 20)
    return spread((powers / mean) ** (whitening / 2) * overall)


def band_profile(frames: torch.Tensor) -> torch.Tensor:
    """Returns how power is spread inside the bands on average: float32 [COEFFICIENTS].

    The last band falls by 40 dB in the slope of the resampling filter; noise that did not would
    fill a gap that all music has.

    Args:
        frames: float32 [frames, COEFFICIENTS], a frame or more.

    Returns:
        Power of each coefficient relative to its band, from means of dB; 1 on average in each band.

    >>> band_profile(torch.full((3, 320), 0.5))[:2].tolist()
    [1.0, 1.0]
    """
    total = torch.zeros(COEFFICIENTS, dtype=torch.float64)
    for block in frames.split(_BLOCK):
        decibels = 10 * torch.log10(block.square().clamp(min=_LEAST_POWER))
        total += (decibels - spread(band_levels_db(block))).sum(0, dtype=torch.float64)
    powers = (10 ** (total / len(frames) / 10)).to(torch.float32)[None]
    return (powers / spread(powers @ _members().T / _widths()))[0]


def fill_amplitudes(
    frames: torch.Tensor,
    outline: torch.Tensor,
    *,
    profile: torch.Tensor,
    share: float,
    ceiling: float,
) -> torch.Tensor:
    """Returns how loud noise must be to bring frames up to their envelopes.

    Noise in a loud band would cost more signal-to-noise ratio than its spectrum is worth, so no
    band gets more than a part of the frame's mean power.

    Args:
        frames: float32 [frames, COEFFICIENTS], what was decoded.
        outline: float32 [frames, BANDS + 1], whose bands they should reach.
        profile: float32 [COEFFICIENTS], how to spread the noise of a band over its coefficients.
        share: Amplitude of the noise relative to what is missing.
        ceiling: Most power to fill in, relative to the frame's mean power.

    Returns:
        float32 [frames, COEFFICIENTS].

    >>> wanted = outlines(torch.full((1, 320), 0.1))
    >>> even = torch.ones(320)
    >>> fill = fill_amplitudes(torch.zeros(1, 320), wanted, profile=even, share=0.5, ceiling=1.0)
    >>> fill[0, :2].tolist()
    [0.05000000074505806, 0.05000000074505806]
    """
    powers = 10 ** (outline[:, :BANDS] / 10)
    mean = (powers * _widths()).sum(1, keepdim=True) / COEFFICIENTS
    gap = (powers - band_powers(frames)).clamp(min=0)
    return spread(torch.minimum(gap, ceiling * mean).sqrt() * share) * profile.sqrt()


def _widths() -> torch.Tensor:
    edges = torch.tensor(BAND_EDGES, dtype=torch.float32)
    return edges[1:] - edges[:-1]


def _members() -> torch.Tensor:
    """Returns which coefficients are of which band: float32 [BANDS, COEFFICIENTS] of 0 and 1."""
    of_band = torch.repeat_interleave(torch.arange(BANDS), _widths().to(torch.int64))
    return (of_band == torch.arange(BANDS)[:, None]).to(torch.float32)
