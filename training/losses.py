"""The loss, and the likelihood of the codes."""

from __future__ import annotations

from typing import Any

import torch

from singsong.training.presets import Z_LOSS


def token_losses(
    logits: torch.Tensor, targets: torch.Tensor, *, z_loss: float = Z_LOSS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns loss and negative log-likelihood of each token.

    Args:
        logits: float32 [batch, positions, vocabulary].
        targets: int64 [batch, positions].
        z_loss: Weight of the squared logarithm of the partition function.

    Returns:
        Two float32 [batch, positions], in nats: the training loss, and cross-entropy alone.

    Paper: 4.4, as in t5x: no label smoothing; the softmax runs over the whole vocabulary.

    >>> loss, nll = token_losses(torch.zeros(1, 1, 4), torch.tensor([[2]]), z_loss=0.5)
    >>> round(nll.item(), 4), round((loss - nll).item(), 4)
    (1.3863, 0.9609)
    """
    loss, nll = _TokenLosses.apply(logits, targets, z_loss)
    return loss, nll


class _TokenLosses(torch.autograd.Function):
    """As t5x, with an explicit gradient: half the time and memory of autograd's."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, targets: torch.Tensor, z_loss: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        log_z = logits.logsumexp(-1)
        nll = log_z - logits.gather(-1, targets[..., None])[..., 0]
        ctx.save_for_backward(logits, targets, log_z)
        ctx.z_loss = z_loss
        return nll + z_loss * log_z.square(), nll

    @staticmethod
    def backward(
        ctx: Any, d_loss: torch.Tensor, d_nll: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        logits, targets, log_z = ctx.saved_tensors
        d_log_z = d_loss * (1 + 2 * ctx.z_loss * log_z) + d_nll
        gradient = (logits - log_z[..., None]).exp_().mul_(d_log_z[..., None])
        gradient.scatter_add_(-1, targets[..., None], -(d_loss + d_nll)[..., None])
        return gradient, None, None
