"""Where the files lie that were joined to one, and whether a file is shorter than it states."""

from __future__ import annotations

import re
from collections.abc import Iterator

from singsong.audio.decode_bytes import BufferedFile
from singsong.audio.decode_source import ByteRange

_PLACEHOLDERS = 0x7FFF0000  # sizes from here on mean "unknown" in files of 32-bit sizes
_MAX_HEADER_BYTES = 1 << 16
_FLAC_START = re.compile(rb"fLaC\x00\x00\x00\x22")


def joined_files(fd: int, kind: str) -> Iterator[ByteRange]:
    """Yields the files that a file consists of, without the tags before the first; most are one.

    Args:
        fd: An open regular file; its position is neither used nor moved.
        kind: As from `audio_kind`. Other kinds than FLAC and WAV are not searched.

    Raises:
        OSError: The file cannot be read.
    """
    source = BufferedFile(fd)
    start = source.after_tags(0)
    while start < source.size:
        end = source.size
        if kind == "a FLAC file":
            found = source.search(_FLAC_START, _after_flac_metadata(source, start), width=8)
            end = source.size if found is None else found
        elif kind == "a WAV file":
            end = _wav_end(source, start)
        yield ByteRange(start=start, end=end)
        start = end


def is_cut(fd: int) -> bool:
    """Returns whether the data of a WAV or CAF file goes beyond its end; ffmpeg does not tell.

    Args:
        fd: As in `joined_files`.

    Raises:
        OSError: The file cannot be read.
    """
    source = BufferedFile(fd)
    start = source.after_tags(0)
    head = source.at(start, _MAX_HEADER_BYTES)
    data = head.find(b"data")
    if data < 0 or not head.startswith((b"RIFF", b"caff")):
        return False
    if head.startswith(b"caff"):
        size = int.from_bytes(head[data + 4 : data + 12], "big", signed=True) + 4
    else:
        size = int.from_bytes(head[data + 4 : data + 8], "little")
        size = 0 if size >= _PLACEHOLDERS else size
    return start + data + 8 + size > source.size


def _after_flac_metadata(source: BufferedFile, start: int) -> int:
    """Returns the offset behind the metadata blocks, in which another FLAC file may be embedded."""
    offset, last = start + 4, False
    while not last and len(head := source.at(offset, 4)) == 4:
        last = bool(head[0] & 0x80)
        offset += 4 + int.from_bytes(head[1:], "big")
    return offset


def _wav_end(source: BufferedFile, start: int) -> int:
    """Returns where another WAV file begins behind this one, or the end of the whole file."""
    head = source.at(start, 8)
    if not head.startswith(b"RIFF"):
        return source.size
    size = int.from_bytes(head[4:], "little")
    behind = start + 8 + size + size % 2
    head = source.at(behind, 12) if behind < source.size else b""
    return behind if head[:4] == b"RIFF" and head[8:] == b"WAVE" else source.size
