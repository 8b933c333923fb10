"""How codes are drawn. No libraries, so that the command line knows the defaults at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How codes are drawn.

    Attributes:
        temperature: Of the accompaniment model; 0 takes the most likely code.
        fine_temperature: Of the fine model.

    Raises:
        ValueError: A temperature is negative.

    Paper: 3.3; the fine one as AudioLM.
    """

    temperature: float = 0.85
    fine_temperature: float = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, found {value}")


DEFAULT_SAMPLING = Sampling()
