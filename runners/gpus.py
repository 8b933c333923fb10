"""The GPUs that Dataflow attaches to workers and current torch builds have kernels for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class GpuType:
    """One kind of GPU.

    Attributes:
        machine_type: A machine that carries one of it.
        machines: Regular expression of all such machines.
    """

    machine_type: str
    machines: str


GPU_TYPES: Mapping[str, GpuType] = {
    "nvidia-tesla-t4": GpuType(machine_type="n1-standard-8", machines=r"n1-.+"),
    "nvidia-l4": GpuType(
        machine_type="g2-standard-8", machines=r"g2-(standard-(4|8|12|16|32)|custom-.+)"
    ),
    "nvidia-tesla-a100": GpuType(machine_type="a2-highgpu-1g", machines=r"a2-highgpu-1g"),
    "nvidia-a100-80gb": GpuType(machine_type="a2-ultragpu-1g", machines=r"a2-ultragpu-1g"),
    "nvidia-h100-80gb": GpuType(machine_type="a3-highgpu-1g", machines=r"a3-highgpu-1g"),
}


def accelerator_hint(gpu: str, machine_type: str) -> str:
    """Returns Beam's accelerator hint for workers with one GPU.

    One, because a worker loads one copy of the models onto one device: more GPUs are more workers.

    Args:
        gpu: A key of `GPU_TYPES`.
        machine_type: The machine that carries it; empty takes the usual one.

    Raises:
        ValueError: The GPU is unknown, or the machine does not carry exactly one of it.

    >>> accelerator_hint("nvidia-l4", "")
    'type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver'
    """
    if gpu not in GPU_TYPES:
        raise ValueError(f"gpu must be one of {sorted(GPU_TYPES)}, found {gpu!r}")
    known = GPU_TYPES[gpu]
    machine = machine_type or known.machine_type
    if not re.fullmatch(known.machines, machine):
        raise ValueError(
            f"gpu_machine_type must be a machine with one {gpu}, such as {known.machine_type}, "
            f"found {machine!r}"
        )
    return f"type:{gpu};count:1;machine_type:{machine};install-nvidia-driver"
