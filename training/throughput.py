"""How much work a step is, and how much of the hardware it uses."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from singsong.training.architectures import Architecture, ModelConfig

_PEAK_FLOPS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,  # before L40, which is a part of its name
    "L40": 181e12,
    "L4": 121e12,
}
"""Dense bfloat16 operations per second, from the data sheets (SXM where there is a choice)."""


def training_flops(
    architecture: Architecture, config: ModelConfig, *, source: int, target: int
) -> int:
    """Returns the operations of one example, forward and backward, without computing any.

    Every matrix product of the model counts, attention in full. Gradient checkpointing computes
    some of them twice; they count once.

    Args:
        architecture: The kind of model.
        config: The config of the model.
        source: Number of tokens that are given.
        target: Number of tokens to predict.
    """
    with torch.device("meta"):
        model = architecture.model_class(config)
        given, predicted = (torch.zeros(1, n, dtype=torch.int64) for n in (source, target))
    with FlopCounterMode(display=False) as counter:
        architecture.target_logits(model, given, predicted).sum().backward()
    return int(counter.get_total_flops())


def peak_flops(device: torch.device, dtype: torch.dtype, count: int) -> float | None:
    """Returns the peak operations per second of devices; None if it is not known.

    Args:
        device: One of the devices.
        dtype: Type of the computation.
        count: Number of devices.
    """
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak * count for part, peak in _PEAK_FLOPS.items() if part in name), None)


class Throughput:
    """Measures examples per second between two readings.

    Args:
        flops: Operations of one example.
        peak: Operations per second of all devices together; None if it is not known.
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
