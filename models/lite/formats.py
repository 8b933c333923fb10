"""The two formats of lite acoustic weights: what their codes mean, and how frames are restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from singsong.models.lite.envelope import (
    BANDS,
    FLOOR_DB,
    band_powers,
    fill_amplitudes,
    mean_power,
    spread,
)

Restore: TypeAlias = Callable[..., torch.Tensor]

WHITENING = 0.15
"""Exponent of the envelope by which a frame is divided before its shape is coded."""
_LEAST_POWER = 1e-12


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of weights.

    Attributes:
        level_weight: Weight of the overall level in an outline, relative to that of one band.
        restore: Takes frames decoded from shapes, their outlines, and the keywords `profile` and
            `noise`; returns the frames with the power that the shapes lack.
        settings: What identifies the format, in the hash of the weights.
    """

    level_weight: float
    restore: Restore
    settings: Mapping[str, float]


def format_of(tensors: Mapping[str, torch.Tensor]) -> Format:
    """Returns the format of the tensors of a lite codec: that of the tensor `format`, or the first.

    Raises:
        ValueError: This version does not know the format.
    """
    number = int(tensors["format"]) if "format" in tensors else 1
    if number not in FORMATS:
        raise ValueError(
            f"format must be one of {sorted(FORMATS)}, found {number}: "
            "a later version of singsong may read these weights"
        )
    return FORMATS[number]


FILL_SHARE = 0.6
FILL_CEILING = 0.06
"""How much noise fills quiet bands in format 1, see `fill_amplitudes`: it costs 0.2 dB of SNR and
lowers the log-spectral distance by 10 dB."""


def fill(
    frames: torch.Tensor, outline: torch.Tensor, *, profile: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Returns frames with noise in their quiet bands, as format 1 has it.

    The shapes hold less power than the frames had, and the noise does not make up for it: decoded
    audio is quieter than the original.

    Args:
        frames: float32 [frames, COEFFICIENTS], decoded from shapes.
        outline: float32 [frames, BANDS + 1].
        profile: float32 [COEFFICIENTS], the distribution of noise power inside each band.
        noise: float32 [frames, COEFFICIENTS] of power 1.
    """
    amplitudes = fill_amplitudes(
        frames, outline, profile=profile, share=FILL_SHARE, ceiling=FILL_CEILING
    )
    return frames + amplitudes * noise


LEVEL_WEIGHT = 20.0
"""With 3, the weight of format 1, the level of voices was off by 3.1 dB (standard deviation over
frames); with 20 by 0.7 dB, and the bands of voices by 10.7 dB instead of 9.5 dB."""
SPILT = 0.35
"""What the shapes put into a band beyond its envelope is taken away if the band has less than this
share of the frame's mean power. Envelopes may be far off, so a louder band is left as it is."""
NOISE_SHARE = 0.5
NOISE_CEILING = 0.05
MAX_GAIN = 2.0
"""What limits the gain of the shapes: noise supplies what a frame still lacks then."""


def restore(
    frames: torch.Tensor, outline: torch.Tensor, *, profile: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """Returns frames with the power that their outlines state, as format 2 has it.

    Each quiet band is turned down to its envelope where the shapes spilt into it, and noise fills
    what the quiet bands lack. A gain for the whole frame then restores its level. Where that would
    take more than `MAX_GAIN`, as it does without any shapes, noise with the colour of the envelope
    supplies the rest.

    Args:
        frames: float32 [frames, COEFFICIENTS], decoded from shapes.
        outline: float32 [frames, BANDS + 1], with an overall level times `LEVEL_WEIGHT`.
        profile: float32 [COEFFICIENTS], the distribution of noise power inside each band.
        noise: float32 [frames, COEFFICIENTS] of power 1.
    """
    wanted = 10 ** (outline[:, :BANDS] / 10)
    # The lowest level stands for silence.
    level = 10 ** (outline[:, BANDS:] / LEVEL_WEIGHT / 10) - 10 ** (FLOOR_DB / 10)
    found = band_powers(frames)
    spilt = (found > wanted) & (found < SPILT * level)
    kept = torch.where(spilt, wanted / found, torch.ones(()))
    found = found * kept
    noise_powers = torch.minimum((wanted - found).clamp(min=0), NOISE_CEILING * level.clamp(min=0))
    noise_powers = noise_powers * NOISE_SHARE**2
    lacking = (level - mean_power(noise_powers)).clamp(min=0)
    power = mean_power(found)
    gain = (lacking / power.clamp(min=_LEAST_POWER)).sqrt().clamp(max=MAX_GAIN)
    rest = (lacking - MAX_GAIN**2 * power).clamp(min=0)
    noise_powers = noise_powers + wanted * (rest / mean_power(wanted))
    shaped = frames * spread(kept.sqrt()) * gain
    return shaped + (spread(noise_powers) * profile).sqrt() * noise


FORMATS: Mapping[int, Format] = {
    1: Format(
        level_weight=3.0,
        restore=fill,
        settings={"fill_share": FILL_SHARE, "fill_ceiling": FILL_CEILING},
    ),
    2: Format(
        level_weight=LEVEL_WEIGHT,
        restore=restore,
        settings={
            "format": 2,
            "level_weight": LEVEL_WEIGHT,
            "spilt": SPILT,
            "noise_share": NOISE_SHARE,
            "noise_ceiling": NOISE_CEILING,
            "max_gain": MAX_GAIN,
        },
    ),
}
NEWEST = max(FORMATS)
"""The format that is fitted."""
