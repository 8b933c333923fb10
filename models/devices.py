"""Where a network runs and how it computes: checked, never silently replaced."""

from __future__ import annotations

import numpy as np
import torch

from singsong.schemas.arrays import FloatArray

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def checked_device(name: str) -> torch.device:
    """Returns the device of a name, if this machine has it.

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
    return device


def set_numerics() -> None:
    """Sets, for the whole process, how torch computes; the same codes come out of each process.

    Entry points call it before a model runs: `load_models` and the other loaders of codecs and
    encoders, `train`, and `Accompanist.load`. Nothing else in the project changes these switches.

    - On CUDA, convolutions and matrix products would run in TensorFloat-32 where float32 is asked
      for, and some kernels of cuDNN sum in another order each time: both would change codes.
    - On a CPU, the fused attention of torch takes 1.15 times as long as its parts in HTDemucs.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.mha.set_fastpath_enabled(False)


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

    A copy, since an array may be a reversed or read-only view, and torch takes neither.

    Args:
        batch: float32, of any shape.
        device: Where to.
    """
    return torch.from_numpy(np.array(batch, np.float32, order="C")).to(device)
