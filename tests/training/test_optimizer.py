"""Adafactor against t5x's update, written out in NumPy."""

import numpy as np
import torch

from singsong.training.optimizer import learning_rate, t5x_adafactor
from tests.support.plain_adafactor import PlainAdafactor


def compare(
    shape: tuple[int, ...],
    *,
    scale: float,
    silent_row: bool = False,
    size: float = 1.0,
    bursts: bool = False,
) -> None:
    """Compares 30 steps; in bursts, every seventh gradient is a hundred times as large."""
    random = np.random.default_rng(0)
    start = (size * random.standard_normal(shape)).astype(np.float32)
    plain = PlainAdafactor(start)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = t5x_adafactor([parameter])
    for step in range(30):
        gradient = (random.standard_normal(shape) * scale).astype(np.float32)
        if silent_row and step < 20:
            gradient[0] = 0
        if bursts and step % 7 == 6:
            gradient *= 100
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        plain.update(gradient)
    moved = np.abs(plain.value - start).max()
    near = max(size, 1e-3)  # the size that steps are scaled by
    assert moved > 0.05 * near
    np.testing.assert_allclose(parameter.detach().numpy(), plain.value, rtol=0, atol=1e-5 * near)


def test_it_is_the_update_of_t5x() -> None:
    compare((256, 300), scale=1.0)
    compare((300,), scale=1.0)


def test_it_is_that_also_for_the_small_gradients_of_a_mean() -> None:
    compare((128, 160), scale=1e-7)
    compare((64,), scale=1e-7)


def test_matrices_with_a_short_side_are_not_factored() -> None:
    compare((64, 48), scale=1.0)
    compare((127, 300), scale=1e-7)


def test_a_token_that_batches_do_not_hold_stays_as_it_is() -> None:
    compare((128, 160), scale=1e-4, silent_row=True)
    compare((64, 48), scale=1e-4, silent_row=True)


def test_a_gradient_that_is_suddenly_large_is_clipped() -> None:
    compare((128, 160), scale=1e-3, bursts=True)
    compare((300,), scale=1e-3, bursts=True)


def test_steps_are_scaled_by_the_size_of_a_parameter_but_by_no_less_than_a_thousandth() -> None:
    compare((128, 160), scale=1.0, size=0.02)
    compare((300,), scale=1.0, size=1e-5)


def test_learning_rate_is_constant_and_then_falls() -> None:
    assert [learning_rate(step) for step in (0, 10_000, 40_000)] == [0.01, 0.01, 0.005]
    assert learning_rate(9_999) == 0.01 > learning_rate(10_001)
    assert [learning_rate(step, warmup_steps=4) for step in (0, 4, 16)] == [0.5, 0.5, 0.25]
