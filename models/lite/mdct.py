"""An orthonormal MDCT with as many frames as hops, and its inverse.

The window of frame t extends half a hop beyond the frame's own samples on both sides, and the first
and last half windows of a clip are steps instead of slopes. So a clip of F hops has exactly F
frames, frame t covers samples [t * hop, (t + 1) * hop) without delay, and the transform of a whole
clip is an orthonormal matrix: it preserves energy.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from singsong.schemas.arrays import FloatArray


def mdct(audio: FloatArray, *, hop: int) -> FloatArray:
    """Returns the MDCT frames of a clip: float32 [frames, hop].

    Args:
        audio: float32 [samples], at least one sample; the last frame is zero-padded.
        hop: Samples and coefficients per frame; even.

    Raises:
        ValueError: The audio is not one-dimensional or is empty, or the hop is odd.

    >>> mdct(np.ones(1000, np.float32), hop=320).shape
    (4, 320)
    """
    _check_hop(hop)
    if audio.ndim != 1 or len(audio) == 0:
        raise ValueError(f"audio must be [samples] and not empty, found {audio.shape}")
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
    """Returns the clip with these MDCT frames: float32 [frames * hop].

    Args:
        frames: float32 [frames, hop], at least one frame.

    Raises:
        ValueError: The frames are not two-dimensional or are empty, or the hop is odd.

    >>> clip = np.sin(np.arange(640, dtype=np.float32))
    >>> bool(np.abs(imdct(mdct(clip, hop=320)) - clip).max() < 1e-5)
    True
    """
    if frames.ndim != 2 or len(frames) == 0:
        raise ValueError(f"frames must be [frames, hop] and not empty, found {frames.shape}")
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
    """Returns the rising and the falling half windows, each [frames, hop]."""
    sine = np.sin(np.pi * (np.arange(hop) + 0.5) / (2 * hop)).astype(np.float32)
    step = (np.arange(hop) >= hop // 2).astype(np.float32)
    rise, fall = np.tile(sine, (frames, 1)), np.tile(sine[::-1], (frames, 1))
    # With a step nothing aliases across the edge of the clip, so no frame is needed beyond it.
    rise[0], fall[-1] = step, step[::-1]
    return rise, fall


def _check_hop(hop: int) -> None:
    if hop <= 0 or hop % 2:
        raise ValueError(f"hop must be a positive even number, found {hop}")
