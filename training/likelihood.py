"""How likely a model finds the codes of a split."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch

from singsong.training.losses import token_losses
from singsong.training.processes import Processes
from singsong.training.stages import Stage, Tensors
from singsong.training.t5_layers import evaluation_mode


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Returns a context in which a float32 model computes in `dtype`."""
    context: AbstractContextManager[Any] = torch.autocast(
        device.type, dtype=dtype, enabled=dtype != torch.float32
    )
    return context


@torch.inference_mode()
def measure_likelihood(
    model: Any,
    batches: Iterable[Tensors],
    *,
    stage: Stage,
    processes: Processes,
    dtype: torch.dtype,
    z_loss: float,
) -> dict[str, float]:
    """Returns what a model makes of batches, teacher-forced and without dropout.

    All processes must call it, each with its own batches, of which there may be none.

    Args:
        model: Of the stage.
        batches: As a `ShardDataset` gives them.
        stage: What is trained.
        processes: The processes.
        dtype: What is computed in.
        z_loss: See `token_losses`.

    Returns:
        `loss`, the mean over all targets of what is trained on; and `nll`, the mean nats of a
        coarse code for the accompaniment model, of a fine code for the fine model.

    Paper: 4.3 and A, NLL.
    """
    totals = [0.0] * 4
    with evaluation_mode(model), autocast(processes.device, dtype):
        for batch in batches:
            source, target = (part.to(processes.device) for part in stage.split(batch))
            loss, nll = token_losses(
                stage.target_logits(model, source, target), target, z_loss=z_loss
            )
            scored = target >= stage.first_scored
            values = (loss.sum(), loss.numel(), nll[scored].sum(), scored.sum())
            totals = [total + float(value) for total, value in zip(totals, values, strict=True)]
    loss_sum, tokens, nll_sum, scored_tokens = processes.summed(totals)
    return {"loss": loss_sum / tokens, "nll": nll_sum / scored_tokens}
