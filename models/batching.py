"""One fixed batch shape, so that a clip's codes do not depend on its company."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Result = TypeVar("Result", bound=npt.NDArray[Any])


def in_fixed_batches(
    run: Callable[[npt.NDArray[np.float32]], Result],
    audio: npt.NDArray[np.float32],
    *,
    batch_clips: int,
) -> Result:
    """Returns `run` over the clips, always called on exactly `batch_clips` of them.

    Matrix kernels choose their order of summation by shape, so the same clip in a batch of another
    size can come out with other last bits, and then with other codes. Here the last batch is filled
    up with silence instead.

    Args:
        run: Takes float32 [batch_clips, samples] and returns [batch_clips, ...].
        audio: float32 [clips, samples], clips >= 1.
        batch_clips: The one batch size.

    Raises:
        ValueError: The audio is not [clips, samples], or there is no clip.

    >>> in_fixed_batches(lambda x: x * 2, np.ones((3, 4), np.float32), batch_clips=2).shape
    (3, 4)
    """
    if audio.ndim != 2 or len(audio) == 0:
        raise ValueError(f"audio must be [clips, samples] with a clip in it, found {audio.shape}")
    results = []
    for start in range(0, len(audio), batch_clips):
        batch = audio[start : start + batch_clips]
        missing = batch_clips - len(batch)
        if missing:
            batch = np.concatenate([batch, np.zeros((missing, audio.shape[1]), np.float32)])
        results.append(run(batch.copy())[: batch_clips - missing])
    return np.concatenate(results)  # type: ignore[return-value]
