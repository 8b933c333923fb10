"""What the lite models check of the audio, the codes and the tensors they are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def check_audio(audio: npt.NDArray[Any]) -> None:
    """Checks that audio is float32 [clips, samples], not empty, and finite.

    Args:
        audio: What was given.

    Raises:
        ValueError: It is not.
    """
    if audio.dtype != np.float32:
        raise ValueError(f"audio must be float32, found {audio.dtype}")
    if audio.ndim != 2 or 0 in audio.shape:
        raise ValueError(
            f"audio must be [clips, samples] with a clip and a sample in it, found {audio.shape}"
        )
    if not np.isfinite(audio).all():
        raise ValueError("audio must be finite, found infinite or undefined samples")


def check_codes(codes: npt.NDArray[Any], *, codebooks: int, codebook_size: int) -> None:
    """Checks that codes are integers [clips, frames, k] in range, 1 <= k <= codebooks.

    Args:
        codes: What was given.
        codebooks: How many codebooks there are.
        codebook_size: Number of codes in each.

    Raises:
        ValueError: They are not.
    """
    if not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers, found {codes.dtype}")
    if codes.ndim != 3 or 0 in codes.shape:
        raise ValueError(
            f"codes must be [clips, frames, codebooks] with a code in them, found {codes.shape}"
        )
    if codes.shape[2] > codebooks:
        raise ValueError(f"there are {codebooks} codebooks, found codes of {codes.shape[2]}")
    if codes.min() < 0 or codes.max() >= codebook_size:
        raise ValueError(
            f"codes must be from 0 to {codebook_size - 1}, found {codes.min()} to {codes.max()}"
        )


def check_tensor(
    tensors: Mapping[str, torch.Tensor], name: str, *, shape: tuple[int | None, ...]
) -> torch.Tensor:
    """Returns a tensor in float32 after checking that it is there, of its shape, and finite.

    Args:
        tensors: All that were given.
        name: Which of them.
        shape: Its shape; None where any size will do.

    Raises:
        ValueError: It is missing, of another shape, or not finite.
    """
    if name not in tensors:
        raise ValueError(f"there must be a tensor {name!r}, found {sorted(tensors)}")
    tensor = tensors[name].to(torch.float32)
    fits = len(tensor.shape) == len(shape) and all(
        wanted in (None, found) for wanted, found in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must be of shape {shape}, found {tuple(tensor.shape)}")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, found infinite or undefined values")
    return tensor.contiguous()
