"""A clip's result must not depend on the clips that happen to be encoded with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from singsong.models.protocols import FloatArray

CLIPS = 8


def clips_of(samples: int, *, seed: int = 0) -> FloatArray:
    """Returns eight different clips [8, samples] of coloured noise, one nearly silent."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((CLIPS, samples)).astype(np.float32)
    levels = np.float32(10) ** rng.uniform(-2, -0.5, (CLIPS, 1)).astype(np.float32)
    levels[3] = 1e-6
    smooth = np.cumsum(noise, axis=1) * np.float32(0.02)
    clips: FloatArray = np.clip((noise + smooth) * levels, -1, 1).astype(np.float32)
    return clips


def assert_same_in_any_company(
    run: Callable[[FloatArray], npt.NDArray[Any]], clips: FloatArray
) -> None:
    """Asserts equal bits alone, in threes, in eights, in another order and among other clips."""
    together = run(clips)
    assert len(np.unique(together)) > 3
    for index in (0, 3, 7):
        np.testing.assert_array_equal(run(clips[index : index + 1])[0], together[index])
    np.testing.assert_array_equal(run(clips[2:5]), together[2:5])
    np.testing.assert_array_equal(run(clips[::-1])[::-1], together)
    others = clips_of(clips.shape[1], seed=1)
    others[5] = clips[2]
    np.testing.assert_array_equal(run(others)[5], together[2])
