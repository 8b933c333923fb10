"""How likely a model finds the codes of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import torch

from singsong.training.architectures import Architecture, Model
from singsong.training.losses import token_losses
from singsong.training.processes import Processes
from singsong.training.t5_layers import evaluation_mode

Metric: TypeAlias = Callable[[Model], float]
"""Measures a model, such as its FAD; lower is better."""


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Returns a context in which a float32 model computes in `dtype`."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@torch.inference_mode()
def measure_likelihood(
    model: Model,
    batches: Iterable[Mapping[str, torch.Tensor]],
    *,
    architecture: Architecture,
    first_scored: int,
    processes: Processes,
    dtype: torch.dtype,
    z_loss: float,
) -> dict[str, float]:
    """Returns the loss and likelihood of batches, teacher-forced and without dropout.

    All processes must call it, each with its own batches, of which there may be none.

    Args:
        model: The model.
        batches: The batches of a `ShardDataset`.
        architecture: The kind of model.
        first_scored: Target tokens from this one on are scored: coarse codes, or fine ones.
        processes: The processes.
        dtype: Type of the computation.
        z_loss: See `token_losses`.

    Returns:
        `loss`, the mean training loss of all targets; `nll`, the mean nats of a scored target.

    Paper: 4.3 and App. A: NLL, of the coarse codes.
    """
    totals = [0.0] * 4
    with evaluation_mode(model), autocast(processes.device, dtype):
        for batch in batches:
            source = batch["input_tokens"].to(processes.device)
            target = batch["target_tokens"].to(processes.device)
            logits = architecture.target_logits(model, source, target)
            loss, nll = token_losses(logits, target, z_loss=z_loss)
            scored = target >= first_scored
            values = (loss.sum(), loss.numel(), nll[scored].sum(), scored.sum())
            totals = [total + float(value) for total, value in zip(totals, values, strict=True)]
    loss_sum, tokens, nll_sum, scored_tokens = processes.summed(totals)
    return {"loss": loss_sum / tokens, "nll": nll_sum / scored_tokens}


@torch.no_grad()
def measure_all(model: Model, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Returns the value of each metric of a model, measured without dropout."""
    with evaluation_mode(model):
        return {name: measure(model) for name, measure in metrics.items()}
