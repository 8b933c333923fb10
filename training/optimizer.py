"""Adafactor and the learning rate as in t5x."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers.optimization import Adafactor

from singsong.training.presets import WARMUP_STEPS

_MIN_FACTORED = 128
"""Second moments of a matrix with a shorter side are not factored."""


def learning_rate(step: int, *, warmup_steps: int = WARMUP_STEPS) -> float:
    """Returns the learning rate of a step: constant at first, then 1 / square root of the step.

    Args:
        step: Number of updates before this one.
        warmup_steps: Number of steps with the constant rate, which is 1 / sqrt of this number. A
            small model that gets few steps learns faster with fewer.

    Paper: 4.4, as in t5x; there is no ramp.

    >>> [learning_rate(step) for step in (0, 10_000, 40_000)]
    [0.01, 0.01, 0.005]
    """
    return 1 / math.sqrt(max(step, warmup_steps))


def t5x_adafactor(parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Returns t5x's Adafactor: factored, clipped at 1, steps scaled by the size of a parameter.

    The caller sets its learning rate at each step, in `param_groups`.

    Paper: 4.4. Differs: not `torch.optim.Adafactor`, which adds t5x's 1e-30 in another place, so
        that the embedding of a token that is missing in a batch becomes NaN, and which, like that
        of `transformers`, factors small matrices, too.
    """
    return _T5xAdafactor(
        parameters,
        lr=learning_rate(0),
        eps=(1e-30, 1e-3),
        clip_threshold=1.0,
        decay_rate=-0.8,
        beta1=None,
        weight_decay=0.0,
        scale_parameter=True,
        relative_step=False,
        warmup_init=False,
    )


class _T5xAdafactor(Adafactor):
    @staticmethod
    def _get_options(param_group: dict[str, Any], param_shape: Sequence[int]) -> tuple[bool, bool]:
        """Returns whether second moments are factored, and whether there are first moments."""
        factored = len(param_shape) > 1 and min(param_shape) >= _MIN_FACTORED
        return factored, param_group["beta1"] is not None
