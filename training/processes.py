"""The processes that train one model together, as `torchrun` starts them; usually one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from singsong.models.devices import checked_device

_TIMEOUT = timedelta(hours=6)
"""How long other processes wait for one that evaluates or saves."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process, and how it communicates with the others.

    Attributes:
        rank: Its number.
        count: Number of processes.
        device: The device that this process computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def summed(self, values: Sequence[float]) -> list[float]:
        """Returns the sum of each value over all processes; all of them must call it."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        summed: list[float] = tensor.tolist()
        return summed

    def any(self, flag: bool) -> bool:
        """Returns whether the flag is set in some process; all of them must call it."""
        return self.summed([float(flag)])[0] > 0

    def wait(self) -> None:
        """Returns when all processes have called it."""
        self.any(False)


@contextmanager
def joined_processes(device: str | None) -> Iterator[Processes]:
    """Yields this process among those that `torchrun` started, or alone.

    Args:
        device: "cpu", "cuda" or "cuda:<index>"; None takes CUDA where it is available. Of several
            processes, each takes the CUDA device with its number.

    Raises:
        ValueError: This machine does not have the device.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not dist.is_torchelastic_launched():
        yield Processes(rank=0, count=1, device=checked_device(name))
        return
    if name == "cuda":
        name = f"cuda:{dist.get_node_local_rank()}"
    place = checked_device(name)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Processes(rank=dist.get_rank(), count=dist.get_world_size(), device=place)
    finally:
        dist.destroy_process_group()
