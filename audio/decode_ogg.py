"""The parts of an Ogg file, found by its page headers without decoding.

A chained Ogg file is several files one after the other (a recorded radio programme, say).
libsndfile reads the first, so each is decoded by itself.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from singsong.audio.decode_bytes import BufferedFile
from singsong.audio.decode_source import ByteRange

_PAGE = re.compile(b"OggS")
_BEGINS = 2
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, kw_only=True)
class OggPart:
    """One link of a chained Ogg file.

    Attributes:
        where: Its complete pages.
        heads: The beginning of the first packet of each of its streams, which names the codec.
    """

    where: ByteRange
    heads: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class OggLayout:
    """What an Ogg file consists of.

    Attributes:
        parts: In the order of the file.
        damage: What is wrong before the end of the last part, or None.
        cut: Whether the file ends inside a page.
    """

    parts: tuple[OggPart, ...]
    damage: str | None
    cut: bool


def scan_ogg(fd: int) -> OggLayout:
    """Returns the parts of an Ogg file, having checked the checksum and the number of each page.

    Args:
        fd: An open regular file; its position is neither used nor moved.

    Raises:
        OSError: The file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     _ = file.write(b"OggS" + bytes([0, 2]) + bytes(20) + bytes([1, 9]) + bytes(8))
    ...     scan_ogg(file.fileno()).cut
    True
    """
    source = BufferedFile(fd)
    chain = _Chain()
    offset = source.search(_PAGE, 0)
    while offset is not None:
        head = source.at(offset, 27 + 255)
        length = 27 + head[26] + sum(head[27 : 27 + head[26]]) if len(head) > 26 else 0
        if not length or offset + length > source.size:
            return chain.layout(cut=True)
        chain.add(offset, source.at(offset, length))
        offset += length
        if source.at(offset, 4) != b"OggS":
            junk, offset = offset, source.search(_PAGE, offset)
            if offset is not None:
                chain.note(f"there are bytes at {junk} that belong to no page")
    return chain.layout(cut=False)


class _Chain:
    """Collects pages into parts."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._heads: list[list[bytes]] = []
        self._numbers: dict[bytes, int] = {}
        self._end = 0
        self._damage: str | None = None
        self._beginning = False

    def add(self, offset: int, page: bytes) -> None:
        begins = bool(page[5] & _BEGINS)
        serial, number = page[14:18], int.from_bytes(page[18:22], "little")
        if begins or not self._starts:
            if not self._beginning:
                self._starts.append(offset)
                self._heads.append([])
                self._numbers.clear()
            payload = 27 + page[26]
            self._heads[-1].append(page[payload : payload + 16])
        elif number != self._numbers.get(serial, number - 1) + 1:
            self.note(f"pages are missing at {offset}")
        if ogg_checksum(page) != int.from_bytes(page[22:26], "little"):
            self.note(f"the page at {offset} is damaged")
        self._beginning = begins
        self._numbers[serial] = number
        self._end = offset + len(page)

    def note(self, damage: str) -> None:
        self._damage = self._damage or damage

    def layout(self, *, cut: bool) -> OggLayout:
        ends = [*self._starts, self._end][1:]
        parts = tuple(
            OggPart(where=ByteRange(start=start, end=end), heads=tuple(heads))
            for start, end, heads in zip(self._starts, ends, self._heads, strict=True)
        )
        return OggLayout(parts=parts, damage=self._damage, cut=cut)


def ogg_checksum(page: bytes) -> int:
    """Returns the checksum of a page, whatever its header states.

    It is the CRC-32 of zlib with the bits of each byte in the other order, and without inversions.

    Args:
        page: The whole page.

    >>> hex(ogg_checksum(b"OggS" + bytes(23)))
    '0x9ea1a511'
    """
    data = page[:22] + bytes(4) + page[26:]
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)
