"""An orthonormal MDCT with as many frames as hops, and its inverse.

The window of frame t spans half a hop on both sides of the frame's own samples, and the two outer
half windows of a clip are steps instead of slopes. So a clip of F hops has exactly F frames, frame
t stands over samples [t * hop, (t + 1) * hop), nothing is delayed, and the transform as a whole is
an orthonormal matrix: energy in time is energy in frequency.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from singsong.schemas.arrays import FloatArray


def mdct(audio: FloatArray, *, hop: int) -> FloatArray:
    """Returns the MDCT frames of a clip: float32 [frames, hop].

    Args:
        audio: float32 [samples], one sample or more; the last frame is filled up with zeros.
        hop: Samples per frame, which is also coefficients per frame; even.

    Raises:
        ValueError: The audio is not one clip with a sample in it, or the hop is odd.

    >>> mdct(np.ones(1000, np.float32), hop=320).shape
    (4, 320)
    """
    _check_hop(hop)
    if audio.ndim != 1 or len(audio) == 0:
        raise ValueError(f"audio must be [samples] with a sample in it, found {audio.shape}")
    half = hop // 2
    frames = -(-len(audio) // hop)
    padded = np.zeros((frames + 1) * hop, np.float32)
    padded[half : half + len(audio)] = audio
    blocks = padded.reshape(frames + 1, hop)
    rise, fall = _slopes(frames, hop)
    left, right = blocks[:-1] * rise, blocks[1:] * fall
    folded = np.concatenate(
        [-right[:, half - 1 :: -1] - right[:, half:], left[:, :half] - left[:, : half - 1 : -1]],
        axis=1,
    )
    return np.asarray(fft.dct(folded, type=4, norm="ortho", axis=1), np.float32)


def imdct(frames: FloatArray) -> FloatArray:
    """Returns the clip whose MDCT these frames are: float32 [frames * hop].

    Args:
        frames: float32 [frames, hop], one frame or more.

    Raises:
        ValueError: The frames are not [frames, hop] with a frame in them, or the hop is odd.

    >>> clip = np.sin(np.arange(640, dtype=np.float32))
    >>> bool(np.abs(imdct(mdct(clip, hop=320)) - clip).max() < 1e-5)
    True
    """
    if frames.ndim != 2 or len(frames) == 0:
        raise ValueError(f"frames must be [frames, hop] with a frame in it, found {frames.shape}")
    count, hop = frames.shape
    _check_hop(hop)
    half = hop // 2
    folded = np.asarray(fft.dct(frames, type=4, norm="ortho", axis=1), np.float32)
    early, late = folded[:, :half], folded[:, half:]
    rise, fall = _slopes(count, hop)
    blocks = np.zeros((count + 1, hop), np.float32)
    blocks[:-1] += np.concatenate([late, -late[:, ::-1]], axis=1) * rise
    blocks[1:] += np.concatenate([-early[:, ::-1], -early], axis=1) * fall
    return blocks.reshape(-1)[half : half + count * hop]


def _slopes(frames: int, hop: int) -> tuple[FloatArray, FloatArray]:
    """Returns the rising and the falling half window of each frame, each [frames, hop]."""
    sine = np.sin(np.pi * (np.arange(hop) + 0.5) / (2 * hop)).astype(np.float32)
    step = (np.arange(hop) >= hop // 2).astype(np.float32)
    rise, fall = np.tile(sine, (frames, 1)), np.tile(sine[::-1], (frames, 1))
    # A step folds nothing over the edge of the clip, so that no frame is needed beyond it.
    rise[0], fall[-1] = step, step[::-1]
    return rise, fall


def _check_hop(hop: int) -> None:
    if hop <= 0 or hop % 2:
        raise ValueError(f"hop must be a positive even number, found {hop}")
