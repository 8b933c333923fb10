"""One fixed batch shape, so that a clip's codes do not depend on the rest of its batch."""

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
    channels: int | None = None,
) -> Result:
    """Returns the results of `run`, which is always called on exactly `batch_clips` clips.

    Matrix kernels choose their order of summation by shape, so in a batch of another size the same
    clip can differ in its last bits, and then in its codes. So the last batch is padded with
    silence.

    Args:
        run: Takes float32 [batch_clips, samples] and returns [batch_clips, ...].
        audio: float32 [clips, samples], clips >= 1.
        batch_clips: The fixed batch size.
        channels: Number of channels of audio that is [clips, channels, samples], which `run` then
            takes too; None means audio without that axis.

    Raises:
        ValueError: The audio has another shape, or there is no clip.

    >>> in_fixed_batches(lambda x: x * 2, np.ones((3, 4), np.float32), batch_clips=2).shape
    (3, 4)
    """
    inner = () if channels is None else (channels,)
    if audio.ndim != 2 + len(inner) or audio.shape[1:-1] != inner or len(audio) == 0:
        wanted = ", ".join(["clips", *map(str, inner), "samples"])
        raise ValueError(f"audio must be [{wanted}] with a clip in it, found {audio.shape}")
    results = []
    for start in range(0, len(audio), batch_clips):
        batch = audio[start : start + batch_clips]
        missing = batch_clips - len(batch)
        if missing:
            batch = np.concatenate([batch, np.zeros((missing, *audio.shape[1:]), np.float32)])
        results.append(run(batch.copy())[: batch_clips - missing])
    return np.concatenate(results)  # type: ignore[return-value]
