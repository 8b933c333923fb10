"""Frames of a clip that do not overlap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.schemas.arrays import FloatArray


def padded_frames(audio: FloatArray, samples: int) -> FloatArray:
    """Returns a clip as float32 [frames, samples], the last frame padded with zeros.

    Args:
        audio: float32 [samples of the clip], at least one.
        samples: Length of a frame.

    >>> padded_frames(np.ones(5, np.float32), 3).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    frames = -(-len(audio) // samples)
    missing = frames * samples - len(audio)
    return (np.pad(audio, (0, missing)) if missing else audio).reshape(frames, samples)


def frame_powers(audio: FloatArray, samples: int) -> npt.NDArray[np.float64]:
    """Returns the mean square of each frame, float64 [frames]; padding counts as silence.

    >>> frame_powers(np.ones(3, np.float32), 2).tolist()
    [1.0, 0.5]
    """
    frames = padded_frames(audio, samples)
    return np.einsum("ij,ij->i", frames, frames).astype(np.float64) / samples
