"""Adafactor against t5x's update, written out in NumPy."""

import numpy as np
import torch

from training.optimizer import learning_rate, t5x_adafactor


class PlainAdafactor:
    """t5x's update as its source has it, in float64, for one array."""

    def __init__(self, value: np.ndarray) -> None:
        self.value = value.astype(np.float64)
        self.step = 0
        self.factored = value.ndim > 1 and sorted(value.shape)[-2] >= 128
        if self.factored:
            self.row, self.column = np.zeros(value.shape[:-1]), np.zeros(value.shape[-1])
        else:
            self.square = np.zeros(value.shape)

    def update(self, gradient: np.ndarray) -> None:
        rate = 1 / np.sqrt(max(self.step, 10_000))
        rate *= max(np.sqrt(np.mean(self.value**2)), 1e-3)
        decay = 1 - (self.step + 1.0) ** -0.8
        square = gradient.astype(np.float64) ** 2 + 1e-30
        if self.factored:
            self.row = decay * self.row + (1 - decay) * square.mean(-1)
            self.column = decay * self.column + (1 - decay) * square.mean(-2)
            rows = (self.row / self.row.mean()) ** -0.5
            update = gradient * rows[:, None] * self.column**-0.5
        else:
            self.square = decay * self.square + (1 - decay) * square
            update = gradient * self.square**-0.5
        update /= max(1.0, np.sqrt(np.mean(update**2)))
        self.value -= rate * update
        self.step += 1


def compare(shape: tuple[int, ...], *, scale: float, silent_row: bool = False) -> None:
    random = np.random.default_rng(0)
    start = random.standard_normal(shape).astype(np.float32)
    plain = PlainAdafactor(start)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = t5x_adafactor([parameter])
    for step in range(30):
        gradient = (random.standard_normal(shape) * scale).astype(np.float32)
        if silent_row and step < 20:
            gradient[0] = 0
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
        plain.update(gradient)
    moved = np.abs(plain.value - start).max()
    assert moved > 0.05
    np.testing.assert_allclose(parameter.detach().numpy(), plain.value, rtol=0, atol=1e-5)


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


def test_learning_rate_is_constant_and_then_falls() -> None:
    assert [learning_rate(step) for step in (0, 10_000, 40_000)] == [0.01, 0.01, 0.005]
    assert learning_rate(9_999) == 0.01 > learning_rate(10_001)
