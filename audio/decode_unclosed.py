"""Headers of recordings that were never closed: their sizes are 0 although samples follow.

A recorder writes the sizes when it closes a file. ffmpeg reads such a WAV or CAF to its end, but
refuses the formats here. libsndfile reads them if it is shown the sizes that they should state.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

_W64_GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_MAX_HEADER_BYTES = 1 << 16


def sizes_to_patch(fd: int) -> Mapping[int, bytes]:
    r"""Returns what the sizes in the header should be, by their offset; nothing if stated.

    Args:
        fd: An open regular file; its position is neither used nor moved.

    Raises:
        OSError: The file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryFile(buffering=0) as file:
    ...     _ = file.write(b".snd" + struct.pack(">IIIII", 24, 0, 3, 8000, 1) + bytes(100))
    ...     sizes_to_patch(file.fileno())
    {8: b'\x00\x00\x00d'}
    """
    head, size = os.pread(fd, _MAX_HEADER_BYTES, 0), os.fstat(fd).st_size
    try:
        if head.startswith(b".snd"):
            return _au(head, size)
        if head.startswith(b"FORM") and head[8:11] == b"AIF":
            return _aiff(head, size)
        if head.startswith((b"RF64", b"BW64")):
            return _rf64(head, size)
        if head.startswith(b"riff"):
            return _w64(head, size)
    except (ValueError, struct.error, ZeroDivisionError):
        pass  # a header without these fields: the decoder will say what is wrong with it
    return {}


def _au(head: bytes, size: int) -> Mapping[int, bytes]:
    start, stated = struct.unpack(">II", head[4:12])
    return {} if stated or start >= size else {8: struct.pack(">I", size - start)}


def _aiff(head: bytes, size: int) -> Mapping[int, bytes]:
    common, sound = head.index(b"COMM"), head.index(b"SSND")
    channels, frames, bits = struct.unpack(">hIh", head[common + 8 : common + 16])
    (stated,) = struct.unpack(">I", head[sound + 4 : sound + 8])
    if frames and stated > 8:
        return {}
    bytes_a_frame = channels * ((bits + 7) // 8)
    frames = (size - sound - 16) // bytes_a_frame
    return {
        4: struct.pack(">I", size - 8),
        common + 10: struct.pack(">I", frames),
        sound + 4: struct.pack(">I", frames * bytes_a_frame + 8),
    }


def _rf64(head: bytes, size: int) -> Mapping[int, bytes]:
    sizes, data = head.index(b"ds64"), head.index(b"data")
    (in_chunk,) = struct.unpack("<I", head[data + 4 : data + 8])
    (stated,) = struct.unpack("<Q", head[sizes + 16 : sizes + 24])
    if stated or in_chunk not in (0, 0xFFFFFFFF):
        return {}
    form = head.index(b"fmt ")
    (bytes_a_frame,) = struct.unpack("<H", head[form + 20 : form + 22])
    length = size - data - 8
    return {
        sizes + 8: struct.pack("<QQQ", size - 8, length, length // bytes_a_frame),
        data + 4: b"\xff\xff\xff\xff",
    }


def _w64(head: bytes, size: int) -> Mapping[int, bytes]:
    data = head.index(b"data" + _W64_GUID_TAIL)
    (stated,) = struct.unpack("<Q", head[data + 16 : data + 24])
    if stated > 24:
        return {}
    return {16: struct.pack("<Q", size), data + 16: struct.pack("<Q", size - data)}
