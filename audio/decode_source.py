"""Data structures that all decoders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.audio.decode_limits import DecodeLimits
from singsong.schemas.errors import CorruptAudioError

MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 6_000_000  # DSD1024, whose decoder gives a sample for every eight bits
_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a file is read.

    Attributes:
        limits: What each decoding process may use.
        block_frames: Maximum number of frames per block.
        on_cut: Called at the end if the file ends before its audio does.
    """

    limits: DecodeLimits
    block_frames: int
    on_cut: Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One stream of a file that is being decoded; most files hold one, joined files several.

    Attributes:
        rate_hz: Samples per second, within `MIN_RATE_HZ` and `MAX_RATE_HZ`.
        channel_mask: Where the channels belong, as in `singsong.audio.downmix`; 0 if unknown.
        lossless: Whether the samples are those that were stored, so that data can hide in them.
        blocks: Consecutive float32 [frames, channels], each valid until the next is requested.
            Reading them raises the errors of `singsong.audio.decode.stream_mono`.
    """

    rate_hz: int
    channel_mask: int
    lossless: bool
    blocks: Iterator[npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class ByteRange:
    """Where a part lies in its file: from `start` up to `end`, in bytes."""

    start: int
    end: int


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
