"""Checks of the audio, codes and tensors that models are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch

from singsong.schemas.arrays import CodeArray, FloatArray


def encode_each(audio: FloatArray, encode_clip: Callable[[FloatArray], CodeArray]) -> CodeArray:
    """Returns the codes of each clip of a batch, stacked.

    Clips are encoded one by one, so that the codes of a clip do not depend on its batch.

    Args:
        audio: float32 [clips, samples] in [-1, 1], at least one clip and one sample.
        encode_clip: Returns the codes of one clip [samples].

    Raises:
        ValueError: The audio is of another type or shape, or is not finite.
    """
    check_audio(audio)
    return np.stack([encode_clip(clip) for clip in audio])


def check_audio(audio: npt.NDArray[np.generic]) -> None:
    """Checks that audio is float32 [clips, samples], not empty, and finite.

    Args:
        audio: The array to check.

    Raises:
        ValueError: It is not.
    """
    if audio.dtype != np.float32:
        raise ValueError(f"audio must be float32, found {audio.dtype}")
    if audio.ndim != 2 or 0 in audio.shape:
        raise ValueError(f"audio must be [clips, samples] and not empty, found {audio.shape}")
    if not np.isfinite(audio).all():
        raise ValueError("audio must be finite, found infinite or NaN samples")


def check_codes(codes: npt.NDArray[np.generic], *, codebooks: int, codebook_size: int) -> None:
    """Checks that codes are integers [clips, frames, k] in range, 1 <= k <= codebooks.

    Args:
        codes: The array to check.
        codebooks: Number of codebooks.
        codebook_size: Number of codes in each.

    Raises:
        ValueError: They are not.
    """
    if not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes must be integers, found {codes.dtype}")
    if codes.ndim != 3 or 0 in codes.shape:
        raise ValueError(
            f"codes must be [clips, frames, codebooks] and not empty, found {codes.shape}"
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
    """Returns a tensor as float32, after checking its presence, shape and values.

    Args:
        tensors: All tensors of a model.
        name: The tensor to return.
        shape: Its expected shape; None matches any size.

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
        raise ValueError(f"{name} must be finite, found infinite or NaN values")
    return tensor.contiguous()
