"""Where a network runs and what it computes in: checked at construction, never replaced."""

from __future__ import annotations

import numpy as np
import torch

from singsong.schemas.arrays import FloatArray

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def checked_device(name: str) -> torch.device:
    """Returns the device, with float32 on it meaning float32.

    On a CUDA device convolutions would otherwise run in TensorFloat-32, and some of their kernels
    add up in an order of their own each time: both would change codes.

    Args:
        name: "cpu", "cuda" or "cuda:<index>".

    Raises:
        ValueError: No such kind of device, or this machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f'device must be "cpu", "cuda" or "cuda:0", found {name!r}') from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise ValueError(f'device must be "cpu", "cuda" or "cuda:0", found {name!r}')
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= found:
        raise ValueError(
            f"device {name!r} was asked for, and this machine has {found} CUDA devices"
        )
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return device


def checked_dtype(name: str) -> torch.dtype:
    """Returns the type a network computes in.

    Raises:
        ValueError: It is not one of `DTYPES`.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {sorted(DTYPES)}, found {name!r}")
    return DTYPES[name]


def on_device(batch: FloatArray, device: torch.device) -> torch.Tensor:
    """Returns a copy of an array as a tensor on a device.

    A copy, since torch takes neither the reversed nor the read-only views that arrays may be.

    Args:
        batch: float32, of any shape.
        device: Where to.
    """
    return torch.from_numpy(np.array(batch, np.float32, order="C")).to(device)
