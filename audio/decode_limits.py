"""What decoding one file may use. Imports nothing heavy: the command line checks the limits."""

from __future__ import annotations

from dataclasses import dataclass

MAX_TIMEOUT_S = 86_400
MAX_HOURS = 10_000
MIN_MEMORY_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True)
class DecodeLimits:
    """Time, memory and length limits for decoding one file.

    Attributes:
        timeout_s: Maximum time for each hour of audio, and for a file shorter than that; without
            the time that the caller spends between two blocks.
        memory_bytes: Maximum address space of the decoding process. It streams, so that the length
            of a file does not matter.
        max_track_hours: A file that decodes to more than this is refused: a few kilobytes can
            decode to years of silence.

    Raises:
        ValueError: The time is not positive or exceeds a day, the memory is too small to start
            ffmpeg, or the length is not positive or exceeds `MAX_HOURS`.

    >>> DecodeLimits(timeout_s=30, memory_bytes=1 << 30).timeout_s
    30
    """

    timeout_s: float = 600.0
    memory_bytes: int = 1 << 30
    max_track_hours: float = 24.0

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= MAX_TIMEOUT_S:
            raise ValueError(
                f"timeout_s must be positive and at most {MAX_TIMEOUT_S}, found {self.timeout_s}"
            )
        if self.memory_bytes < MIN_MEMORY_BYTES:
            raise ValueError(
                f"memory_bytes must be at least {MIN_MEMORY_BYTES}, found {self.memory_bytes}"
            )
        if not 0 < self.max_track_hours <= MAX_HOURS:
            raise ValueError(
                f"max_track_hours must be positive and at most {MAX_HOURS}, "
                f"found {self.max_track_hours}"
            )
