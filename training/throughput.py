"""How much work a step is, and what part of the hardware it uses."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from singsong.training.stages import Stage

_PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,  # a name comes before those that it begins with
    "L40": 181e12,
    "L4": 121e12,
}
"""Dense bfloat16 operations per second, from the data sheets (SXM where there is a choice)."""


def training_flops(stage: Stage, config: Any) -> int:
    """Returns the operations of one example, forward and backward, without computing any.

    Every product of matrices of the model counts, attention in full; what gradient checkpointing
    computes twice does not.

    Args:
        stage: What is trained.
        config: Of the model.
    """
    with torch.device("meta"):
        model = stage.model_class(config)
        source, target = (torch.zeros(1, n, dtype=torch.int64) for n in stage.lengths)
    with FlopCounterMode(display=False) as counter:
        stage.target_logits(model, source, target).sum().backward()
    return int(counter.get_total_flops())


def peak_flops(device: torch.device, dtype: torch.dtype, count: int) -> float | None:
    """Returns the operations per second of devices; None if that is not known.

    Args:
        device: One of them.
        dtype: What is computed in.
        count: How many there are.
    """
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * count for part, peak in _PEAK_FLOPS.items() if part in name), None)


class Throughput:
    """Measures examples per second between two readings.

    Args:
        flops: Operations of one example.
        peak: Operations per second of all devices together; None if that is not known.
    """

    def __init__(self, *, flops: int, peak: float | None) -> None:
        self._flops, self._peak = flops, peak
        self.start()

    def start(self) -> None:
        """Starts to measure."""
        self._samples, self._since = 0, time.perf_counter()

    def add(self, samples: int) -> None:
        """Counts examples."""
        self._samples += samples

    def read(self) -> dict[str, float]:
        """Returns examples per second and, where the peak is known, MFU; then starts again."""
        rate = self._samples / (time.perf_counter() - self._since)
        self.start()
        values = {"samples_per_s": rate}
        if self._peak is not None:
            values["mfu"] = rate * self._flops / self._peak
        return values
