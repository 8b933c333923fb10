"""Detects incomplete or chained MPEG audio and Ogg files by their frames and pages.

libsndfile treats several places as the end of a file: its estimate of an MPEG file's length, junk
between two frames, and the end of the first of several chained Ogg streams. Scanning the frame or
page headers, without decoding, finds such files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_BUFFER_BYTES = 1 << 20
_RUN_FRAMES = 4
_MAX_CANDIDATES = 100_000  # bounds the time for a file full of bytes that look like headers
_PAGE = re.compile(b"OggS")
_HEADER_OR_TAG = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]|ID3", re.DOTALL)
_VERSION_2_5, _VERSION_RESERVED, _VERSION_1 = 0, 1, 3
_LAYER_III, _LAYER_II, _LAYER_I = 1, 2, 3
_RATES_HZ = (44100, 48000, 32000)
_KBPS = {
    (True, _LAYER_I): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, _LAYER_II): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_III): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_I): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_II): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, _LAYER_III): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


@dataclass(frozen=True, kw_only=True)
class MpegFrame:
    """One frame header of an MPEG audio stream.

    Attributes:
        length_bytes: Distance from this header to the next.
        samples: Samples per channel in the frame.
        kind: Version, layer and sample rate, the same for all frames of a stream.
    """

    length_bytes: int
    samples: int
    kind: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class MpegStream:
    """The first unbroken run of MPEG frames in a file.

    Attributes:
        samples: Samples per channel in its complete frames; 0 if there is no run of frames.
        tagged: Whether its first frame is a Xing or Info tag. It holds no audio and may tell the
            decoder to remove the padding that the encoder added at both ends.
        resumes: Whether more frames follow after junk in the middle of the file.
    """

    samples: int
    tagged: bool
    resumes: bool


@dataclass(frozen=True, kw_only=True)
class OggLayout:
    """The page structure of an Ogg file.

    Attributes:
        truncated: Whether the file ends inside a page.
        streams: Number of logical streams, chained or multiplexed.
    """

    truncated: bool
    streams: int


def parse_mpeg_header(header: bytes) -> MpegFrame | None:
    """Returns the frame that these bytes begin, or None if they are not a frame header.

    Free-format frames, which do not state their length, are not recognised.

    Args:
        header: At least four bytes to begin a frame; further ones are ignored.

    >>> parse_mpeg_header(bytes.fromhex("fffb9000"))
    MpegFrame(length_bytes=417, samples=1152, kind=(3, 1, 44100))
    >>> parse_mpeg_header(b"text") is None
    True
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == _VERSION_RESERVED or layer == 0 or bitrate in (0, 15) or rate == 3:
        return None
    first = version == _VERSION_1
    rate_hz = _RATES_HZ[rate] >> (0 if first else 2 if version == _VERSION_2_5 else 1)
    bits_per_s = _KBPS[first, layer][bitrate - 1] * 1000
    if layer == _LAYER_I:
        samples, length = 384, (12 * bits_per_s // rate_hz + padding) * 4
    else:
        samples = 576 if layer == _LAYER_III and not first else 1152
        length = samples // 8 * bits_per_s // rate_hz + padding
    return MpegFrame(length_bytes=length, samples=samples, kind=(version, layer, rate_hz))


def scan_mpeg(fd: int) -> MpegStream:
    """Returns the first stream of an MPEG audio file, by its frame headers.

    Args:
        fd: An open regular file; its position is neither used nor moved.

    Raises:
        OSError: The file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     _ = file.write((bytes.fromhex("fffb9000") + bytes(413)) * 10)
    ...     scan_mpeg(file.fileno())
    MpegStream(samples=11520, tagged=False, resumes=False)
    """
    source = _BufferedFile(fd)
    start = _find_run(source, 0)
    if start is None:
        return MpegStream(samples=0, tagged=False, resumes=False)
    samples, end = 0, start
    for frame in _run(source, start):
        samples += frame.samples
        end += frame.length_bytes
    tag = source.at(start, 200)
    return MpegStream(
        samples=samples,
        tagged=b"Xing" in tag or b"Info" in tag,
        resumes=_find_run(source, end) is not None,
    )


def scan_ogg(fd: int) -> OggLayout:
    """Returns the page structure of an Ogg file.

    Junk between pages is skipped; the decoder reports whether audio is missing there.

    Args:
        fd: An open regular file; its position is neither used nor moved.

    Raises:
        OSError: The file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     _ = file.write(b"OggS" + bytes([0, 2]) + bytes(20) + bytes([1, 9]) + bytes(8))
    ...     scan_ogg(file.fileno())
    OggLayout(truncated=True, streams=1)
    """
    source = _BufferedFile(fd)
    streams, offset = 0, source.search(_PAGE, 0)
    while offset is not None:
        head = source.at(offset, 27 + 255)
        if len(head) < 27 or len(head) < 27 + head[26]:
            return OggLayout(truncated=True, streams=streams)
        streams += head[5] >> 1 & 1
        offset += 27 + head[26] + sum(head[27 : 27 + head[26]])
        if offset > source.size:
            return OggLayout(truncated=True, streams=streams)
        if source.at(offset, 4) != b"OggS":
            offset = source.search(_PAGE, offset)
    return OggLayout(truncated=False, streams=streams)


class _BufferedFile:
    """Buffered random reads of a few bytes from a file."""

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
            self._bytes = os.pread(self._fd, _BUFFER_BYTES, offset)
        return self._bytes[begin : begin + count]

    def search(self, pattern: re.Pattern[bytes], offset: int) -> int | None:
        """Returns the offset of the next match (at most four bytes) from `offset` on, or None."""
        while offset < self.size:
            if self.at(offset, 4) == b"":
                break
            found = pattern.search(self._bytes, offset - self._start)
            if found is not None:
                return self._start + found.start()
            offset = max(offset + 1, self._start + len(self._bytes) - 3)
        return None


def _run(source: _BufferedFile, offset: int) -> Iterator[MpegFrame]:
    """Yields the consecutive complete frames of one kind from `offset` on."""
    kind = None
    while (frame := parse_mpeg_header(source.at(offset, 4))) is not None:
        offset += frame.length_bytes
        if offset > source.size or kind not in (None, frame.kind):
            return
        kind = frame.kind
        yield frame


def _find_run(source: _BufferedFile, offset: int) -> int | None:
    """Returns the offset of the next `_RUN_FRAMES` consecutive frames, or of fewer at the end.

    ID3 tags are skipped as a whole, because images in them can look like frames. After too many
    false headers, the offset of the last one is returned, which leaves the decision to ffmpeg.
    """
    for _ in range(_MAX_CANDIDATES):
        head = source.at(offset, 10)
        if head.startswith(b"ID3") and len(head) == 10:
            offset += _id3_bytes(head)
        elif _begins_run(source, offset):
            return offset
        else:
            offset += 1
        found = source.search(_HEADER_OR_TAG, offset)
        if found is None:
            return None
        offset = found
    return offset


def _begins_run(source: _BufferedFile, offset: int) -> bool:
    end = offset
    for count, frame in enumerate(_run(source, offset), 1):
        end += frame.length_bytes
        if count == _RUN_FRAMES or end == source.size:
            return True
    return False


def _id3_bytes(head: bytes) -> int:
    """Returns the length of an ID3 tag, stored as four 7-bit digits in its ten-byte header."""
    return 10 + sum(
        (byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
    )
