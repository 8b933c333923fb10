"""What the vocals of a clip may look like beside its mix, if the separator is to be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SeparationLimits:
    """A clip outside these limits fails; `singsong.audio.separation` measures what they limit.

    Attributes:
        max_lag_ms: Most that the vocals may be late or early, in milliseconds.
        min_gain_in_mix: Least gain with which the vocals must be found in the mix.
        max_excess_fraction: Largest part of the vocals' energy where they are louder than the mix.
        max_above_mix_db: Most that the vocals may rise above the mix around them.

    Raises:
        ValueError: A limit is NaN, or a largest value is negative.

    Default: the paper trusts its separator. No clip of real music comes near these limits: see
        `tests/audio/test_separation.py`.
    """

    max_lag_ms: float = 5.0
    min_gain_in_mix: float = 0.8
    max_excess_fraction: float = 0.05
    max_above_mix_db: float = 6.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if math.isnan(value):
                raise ValueError(f"{name} must be a number, found NaN")
            if name.startswith("max_") and value < 0:
                raise ValueError(f"{name} must not be negative, found {value}")


NO_SEPARATION_LIMITS = SeparationLimits(
    max_lag_ms=1e9, min_gain_in_mix=-1e9, max_excess_fraction=1e9, max_above_mix_db=1e9
)
"""Believes every separator."""
