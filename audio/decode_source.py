"""Limits and data structures that both decoders share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.schemas.errors import CorruptAudioError

MAX_TIMEOUT_S = 86_400
MIN_MEMORY_BYTES = 512 << 20
MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 1_000_000
_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """Time and memory limits for decoding one file.

    Attributes:
        timeout_s: Maximum time for the whole file, without the time that the caller spends between
            two blocks.
        memory_bytes: Maximum address space of each decoding process, and maximum size of each file
            it reads or writes. libsndfile streams in this process and needs no limit.

    Raises:
        ValueError: The time is not positive or exceeds a day, or the memory is too small to start
            ffmpeg.

    >>> DecodeLimits(timeout_s=30, memory_bytes=1 << 30).timeout_s
    30
    """

    timeout_s: float = 600.0
    memory_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(
                f"timeout_s must be positive and at most {MAX_TIMEOUT_S}, found {self.timeout_s}"
            )
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise ValueError(
                f"memory_bytes must be at least {MIN_MEMORY_BYTES}, found {self.memory_bytes}"
            )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that is being decoded.

    Attributes:
        rate_hz: Samples per second, within `MIN_RATE_HZ` and `MAX_RATE_HZ`.
        blocks: Consecutive float32 [frames, channels], each valid until the next is requested.
    """

    rate_hz: int
    blocks: Iterator[npt.NDArray[np.float32]]


def check_rate(rate_hz: int) -> int:
    """Returns the sample rate of a file header if it is plausible.

    Args:
        rate_hz: Samples per second.

    Raises:
        CorruptAudioError: The rate is outside `MIN_RATE_HZ` and `MAX_RATE_HZ`.

    >>> check_rate(8000)
    8000
    """
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise CorruptAudioError(
            f"the sample rate is {rate_hz} Hz, outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz"
        )
    return rate_hz


def frames_per_block(channels: int, block_frames: int) -> int:
    """Returns how many frames to decode at once; fewer if there are many channels.

    Args:
        channels: Samples per frame.
        block_frames: Maximum number of frames to decode at once.

    >>> frames_per_block(2, 65536), frames_per_block(1024, 65536)
    (65536, 1024)
    """
    return max(1, min(block_frames, _BLOCK_VALUES // channels))


def average_channels(frames: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Returns the mean over the channels, computed in float64 in the order of the channels.

    Args:
        frames: float32 [frames, channels], channels >= 1.

    Returns:
        float32 [frames], a new array. NaN and infinity propagate; opposite infinities give NaN.

    >>> average_channels(np.array([[0.5, 0.25], [1.0, -1.0]], np.float32)).tolist()
    [0.375, 0.0]
    """
    if frames.shape[1] == 1:
        return frames[:, 0].copy()
    with np.errstate(invalid="ignore", over="ignore"):
        total = frames[:, 0].astype(np.float64)
        for channel in range(1, frames.shape[1]):
            total += frames[:, channel]
        return (total / frames.shape[1]).astype(np.float32)
