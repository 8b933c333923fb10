"""The loss, and the likelihood of the codes."""

from __future__ import annotations

import torch

Z_LOSS = 1e-4


def token_losses(
    logits: torch.Tensor, targets: torch.Tensor, *, z_loss: float = Z_LOSS
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns loss and negative log-likelihood of each token.

    Args:
        logits: float32 [batch, positions, vocabulary].
        targets: int64 [batch, positions].
        z_loss: Weight of the squared logarithm of the partition function.

    Returns:
        Two float32 [batch, positions], in nats: what is trained on, and cross-entropy alone.

    Paper: 4.4, as in t5x: no label smoothing; the softmax runs over the whole vocabulary.

    >>> loss, nll = token_losses(torch.zeros(1, 1, 4), torch.tensor([[2]]), z_loss=0.5)
    >>> round(nll.item(), 4), round((loss - nll).item(), 4)
    (1.3863, 0.9609)
    """
    log_z = logits.logsumexp(-1)
    nll = log_z - logits.gather(-1, targets[..., None])[..., 0]
    return nll + z_loss * log_z.square(), nll
