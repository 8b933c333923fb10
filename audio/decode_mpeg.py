"""The parts of an MPEG audio file (mp3, mp2), found by its frame headers without decoding.

libsndfile stops at its own estimate of the length, at a change between mono and stereo, and at
whatever lies between two frames. So each unbroken run of like frames is decoded by itself, as the
file that it was before somebody joined it with others.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from singsong.audio.decode_bytes import BufferedFile
from singsong.audio.decode_mpeg_frame import (
    FRAMES_TO_TRUST,
    TAG_HEAD_BYTES,
    MpegFrame,
    free_format_bytes,
    is_length_tag,
    parse_mpeg_header,
)
from singsong.audio.decode_source import ByteRange

_MAX_TAG_BYTES = 10
_MAX_CANDIDATES = 100_000  # bounds the time for a file full of bytes that look like headers
_LENGTH_TAG = re.compile(rb"Xing|Info|VBRI")
_HEADER_OR_TAG = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x00-\xef]|ID3", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class MpegPart:
    """An unbroken run of frames of one kind.

    Attributes:
        where: From its first frame to the end of its last complete one.
        frames: How many frames of audio it holds, without a tag frame.
        samples: Samples per channel in them.
        tagged: Whether its first frame is a Xing or Info tag. It holds no audio, and may tell the
            decoder to remove the padding that the encoder added at both ends.
        head: The first four bytes of its first frame of audio.
    """

    where: ByteRange
    frames: int
    samples: int
    tagged: bool
    head: bytes


@dataclass(frozen=True, kw_only=True)
class MpegLayout:
    """What an MPEG audio file consists of.

    Attributes:
        parts: In the order of the file; none if it has no run of frames.
        junk_at: Offset of the first bytes between two frames that are neither a tag nor zeros;
            None if there are none.
        cut: Whether the file ends inside a frame.
    """

    parts: tuple[MpegPart, ...]
    junk_at: int | None
    cut: bool


def scan_mpeg(fd: int, *, strict: bool = False) -> MpegLayout:
    """Returns the parts of an MPEG audio file.

    Args:
        fd: An open regular file; its position is neither used nor moved.
        strict: Whether the first frame must come right after tags and zeros, if there are any.

    Raises:
        OSError: The file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     _ = file.write((bytes.fromhex("fffb9000") + bytes(413)) * 10)
    ...     [part.samples for part in scan_mpeg(file.fileno()).parts]
    [11520]
    """
    source = BufferedFile(fd)
    offset = _first_frame(source, strict=strict)
    parts: list[MpegPart] = []
    junk_at, end = None, 0
    while offset is not None:
        part, last = _part_at(source, offset)
        end, offset = part.where.end, source.after_tags(part.where.end)
        cut_at = (
            _next_file_in(source, last, end)
            if end != offset or not _begins_run(source, end)
            else None
        )
        if cut_at is not None:
            part, offset = _part_at(source, part.where.start, until=last)[0], cut_at
        elif offset == source.size:
            offset = None
        elif not _begins_run(source, offset):
            broken, offset = offset, _find_run(source, offset)
            if offset is not None and junk_at is None:
                junk_at = broken
        parts.append(part)
    cut = bool(parts) and end < source.size and _parse(source.at(end, 4)) is not None
    return MpegLayout(parts=tuple(parts), junk_at=junk_at, cut=cut)


def _first_frame(source: BufferedFile, *, strict: bool) -> int | None:
    start = source.after_tags(0)
    if start == source.size:  # a tag that states too much
        start = min(10, source.size)
    if _begins_run(source, start):
        return start
    return None if strict else _find_run(source, start)


_parse = functools.lru_cache(maxsize=4096)(parse_mpeg_header)


def _run(source: BufferedFile, offset: int) -> Iterator[tuple[int, MpegFrame]]:
    """Yields the offsets and headers of the consecutive complete frames of one kind.

    A later frame that is a Xing tag begins the next file and ends the run.
    """
    head = source.at(offset, TAG_HEAD_BYTES)
    first = _parse(head[:4])
    if first is None:
        return
    free = free_format_bytes(source.at(offset, 1 << 14)) if first.length_bytes is None else None
    frame: MpegFrame | None = first
    kind, size, at, begin = first.kind, source.size, source.at, offset
    # An hour of audio has 140,000 frames, and this runs before its first sample is decoded.
    while frame is not None and frame.kind == kind:
        length = frame.length_bytes or (free + frame.padding_bytes if free else 0)
        if not length or offset + length > size:
            return
        if offset > begin and _LENGTH_TAG.search(head, 13, 44) and is_length_tag(head):
            return
        yield length, frame
        offset += length
        head = at(offset, TAG_HEAD_BYTES)
        frame = _parse(head[:4])


def _part_at(source: BufferedFile, start: int, *, until: int | None = None) -> tuple[MpegPart, int]:
    """Returns the part at `start`, up to the frame at `until`, and where its last frame lies."""
    tagged = is_length_tag(source.at(start, TAG_HEAD_BYTES))
    head = source.at(start, 4)
    frames, samples, last, end = -int(tagged), 0, start, start
    for length, frame in _run(source, start):
        if end == until:
            break
        if frames == 0:
            head = source.at(end, 4)
        samples += frame.samples if frames >= 0 else 0
        frames += 1
        last, end = end, end + length
    where = ByteRange(start=start, end=end)
    part = MpegPart(where=where, frames=max(frames, 0), samples=samples, tagged=tagged, head=head)
    return part, last


def _next_file_in(source: BufferedFile, last: int, end: int) -> int | None:
    """Returns where a file begins that was joined to one cut short: inside its last frame."""
    for found in _HEADER_OR_TAG.finditer(source.at(last, end - last + _MAX_TAG_BYTES), 4):
        at = last + found.start()
        behind = source.after_tags(at) if found[0] == b"ID3" else at
        if at >= end:
            break
        if (behind > at or is_length_tag(source.at(at, TAG_HEAD_BYTES))) and _begins_run(
            source, behind
        ):
            return behind
    return None


def _find_run(source: BufferedFile, offset: int) -> int | None:
    """Returns the offset of the next `FRAMES_TO_TRUST` consecutive frames, or None.

    Tags are skipped as a whole, because images in them can look like frames. The search is given
    up after too many false headers.
    """
    for _ in range(_MAX_CANDIDATES):
        found = source.search(_HEADER_OR_TAG, offset)
        if found is None:
            return None
        behind = source.after_tags(found) if source.at(found, 3) == b"ID3" else found
        if _begins_run(source, behind):
            return behind
        offset = max(behind, found + 1)
    return None


def _begins_run(source: BufferedFile, offset: int) -> bool:
    """Returns whether enough frames follow each other here, or fewer up to the end or a tag."""
    end, count = offset, 0
    for count, (length, _) in enumerate(_run(source, offset), 1):
        end += length
        if count == FRAMES_TO_TRUST:
            return True
    return count > 0 and source.after_tags(end) == source.size
