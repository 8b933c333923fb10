"""Buffered random reads of a few bytes from a file, for the code that looks at its structure."""

from __future__ import annotations

import os
import re

_BUFFER_BYTES = 1 << 20
_NOT_ZERO = re.compile(rb"[^\0]")


class BufferedFile:
    """Reads a file through a buffer; neither uses nor moves the position of its descriptor.

    Args:
        fd: An open regular file.

    Raises:
        OSError: The file cannot be read; its methods raise this too.
    """

    def __init__(self, fd: int) -> None:
        self.size = os.fstat(fd).st_size
        self._fd = fd
        self._start = 0
        self._bytes = b""

    def at(self, offset: int, count: int) -> bytes:
        """Returns `count` bytes at `offset`, fewer at the end of the file."""
        begin = offset - self._start
        if begin < 0 or begin + count > len(self._bytes):
            self._start, begin = offset, 0
            self._bytes = os.pread(self._fd, max(count, _BUFFER_BYTES), offset)
        return self._bytes[begin : begin + count]

    def search(self, pattern: re.Pattern[bytes], offset: int, *, width: int = 4) -> int | None:
        """Returns the offset of the next match from `offset` on, or None.

        Args:
            pattern: What to find.
            offset: Where to begin.
            width: The length of the longest match.
        """
        while offset < self.size:
            if self.at(offset, width) == b"":
                break
            found = pattern.search(self._bytes, offset - self._start)
            if found is not None:
                return self._start + found.start()
            offset = max(offset + 1, self._start + len(self._bytes) - width + 1)
        return None

    def after_zeros(self, offset: int) -> int:
        """Returns the offset of the next byte that is not zero, or the size of the file."""
        found = self.search(_NOT_ZERO, offset, width=1)
        return self.size if found is None else found

    def after_tags(self, offset: int) -> int:
        """Returns the offset behind the ID3, APE and Lyrics3 tags and zeros at `offset`."""
        while offset < self.size:
            length = tag_bytes(self.at(offset, 32))
            if self.at(offset, 11) == b"LYRICSBEGIN":
                end = self.search(re.compile(rb"LYRICS200|LYRICSEND"), offset, width=9)
                length = 0 if end is None else end + 9 - offset
            if not length and self.at(offset, 1) == b"\0":
                length = self.after_zeros(offset) - offset
            if not length:
                break
            offset += length
        return min(offset, self.size)


def tag_bytes(head: bytes) -> int:
    """Returns the length of the ID3 or APE tag that begins with `head`, or 0 if it is none.

    Args:
        head: Its first 32 bytes.

    >>> tag_bytes(b"ID3" + bytes([4, 0, 0, 0, 0, 1, 2]) + bytes(22))
    140
    >>> tag_bytes(b"TAG" + bytes(29)), tag_bytes(b"RIFF" + bytes(28))
    (128, 0)
    """
    if head.startswith(b"ID3") and len(head) >= 10 and max(head[6:10]) < 128:
        size = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        return 10 + size + (10 if head[5] & 0x10 else 0)  # a footer repeats the header
    if head.startswith(b"TAG"):
        return 128
    if head.startswith(b"APETAGEX") and len(head) == 32:
        flags = int.from_bytes(head[20:24], "little")
        is_header = flags >> 29 & 1
        return 32 + int.from_bytes(head[12:16], "little") if is_header else 32
    return 0
