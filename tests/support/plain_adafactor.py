"""Adafactor as the source of t5x has it, in NumPy and float64."""

import numpy as np


class PlainAdafactor:
    """t5x's update of one array.

    Args:
        value: The array at the start.
        warmup_steps: How long the learning rate stays constant.
    """

    def __init__(self, value: np.ndarray, *, warmup_steps: int = 10_000) -> None:
        self.value = value.astype(np.float64)
        self.step, self.warmup_steps = 0, warmup_steps
        self.factored = value.ndim > 1 and sorted(value.shape)[-2] >= 128
        if self.factored:
            self.row, self.column = np.zeros(value.shape[:-1]), np.zeros(value.shape[-1])
        else:
            self.square = np.zeros(value.shape)

    def update(self, gradient: np.ndarray) -> None:
        """Makes one step."""
        rate = 1 / np.sqrt(max(self.step, self.warmup_steps))
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
