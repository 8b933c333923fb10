"""The loss against PyTorch's cross-entropy and against a sum by hand."""

import torch

from singsong.training.losses import token_losses


def test_likelihood_is_cross_entropy_over_the_whole_vocabulary() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(3, 5, 11), torch.randint(11, (3, 5))
    loss, nll = token_losses(logits, targets, z_loss=0.0)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(loss, expected)


def test_z_loss_is_the_squared_logarithm_of_the_partition_function() -> None:
    logits = torch.tensor([[[0.0, 1.0, 2.0]]])
    loss, nll = token_losses(logits, torch.tensor([[0]]), z_loss=0.1)
    log_z = torch.log(torch.exp(logits).sum())
    torch.testing.assert_close(loss - nll, 0.1 * log_z**2 * torch.ones(1, 1))


def test_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 11, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(11, (3, 5))
    for weights in ((1.0, 0.0), (0.0, 1.0), (0.3, -2.0)):

        def weighted(logits: torch.Tensor, weights: tuple[float, float] = weights) -> torch.Tensor:
            parts = token_losses(logits, targets, z_loss=0.1)
            return sum(weight * part.square() for weight, part in zip(weights, parts, strict=True))

        assert torch.autograd.gradcheck(weighted, logits)


def test_the_gradient_of_z_loss_pulls_the_partition_function_to_one() -> None:
    logits = torch.full((1, 1, 4), 3.0, requires_grad=True)
    loss, nll = token_losses(logits, torch.tensor([[0]]), z_loss=1.0)
    (gradient,) = torch.autograd.grad((loss - nll).sum(), logits)
    assert (gradient > 0).all()
