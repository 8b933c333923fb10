"""The program that decodes one stream with libsndfile, whose faults end only this program.

`singsong.audio.decode_libsndfile` starts it by its path, with the file as standard input and its
settings, in JSON, as the only argument. It writes one line of JSON to standard output and then the
samples as interleaved float32 in this machine's byte order. An error is one line of JSON on
standard error, among the warnings that libsndfile and mpg123 print there.

It starts for every such file, so it imports nothing that is slow to import: it calls libsndfile
through ctypes, and finds no module of singsong.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

ERROR_MARK = "singsong-error "
_READ = 0x10
_BLOCK_VALUES = 1 << 16


class _Info(ctypes.Structure):
    """SF_INFO of libsndfile."""

    _fields_ = [
        ("frames", ctypes.c_int64),
        ("samplerate", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("format", ctypes.c_int),
        ("sections", ctypes.c_int),
        ("seekable", ctypes.c_int),
    ]


_LENGTH = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)
_SEEK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)
_TRANSFER = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)


class _VirtualFile(ctypes.Structure):
    """SF_VIRTUAL_IO of libsndfile."""

    _fields_ = [
        ("length", _LENGTH),
        ("seek", _SEEK),
        ("read", _TRANSFER),
        ("write", _TRANSFER),
        ("tell", _LENGTH),
    ]


class _Range:
    """Bytes of standard input from `start` up to `end`, with `head` before them.

    Args:
        patches: Bytes that are read instead of the file's, and their offsets from `start`.
    """

    def __init__(self, start: int, end: int, head: bytes, patches: list[tuple[int, bytes]]) -> None:
        self._start, self._head, self._patches = start, head, patches
        self._at = 0
        self.size = end - start + len(head)
        # ctypes needs the functions to stay alive as long as libsndfile has them.
        self.functions = _VirtualFile(
            _LENGTH(lambda _: self.size),
            _SEEK(self._seek),
            _TRANSFER(self._read),
            _TRANSFER(lambda *_: 0),
            _LENGTH(lambda _: self._at),
        )

    def _seek(self, offset: int, whence: int, _: Any) -> int:
        base = (0, self._at, self.size)[whence]
        self._at = min(max(base + offset, 0), self.size)
        return self._at

    def _read(self, target: int, count: int, _: Any) -> int:
        data = self._bytes(max(0, min(count, self.size - self._at)))
        ctypes.memmove(target, data, len(data))
        self._at += len(data)
        return len(data)

    def _bytes(self, count: int) -> bytes:
        if self._at < len(self._head):
            return self._head[self._at : self._at + count]
        offset = self._at - len(self._head)
        data = bytearray(os.pread(0, count, self._start + offset))
        for at, new in self._patches:
            begin, end = max(at, offset), min(at + len(new), offset + len(data))
            if begin < end:
                data[begin - offset : end - offset] = new[begin - at : end - at]
        return bytes(data)


def main() -> None:
    """Decodes standard input to standard output."""
    settings = json.loads(sys.argv[1])
    library = ctypes.CDLL(settings["library"])
    library.sf_open_virtual.restype = ctypes.c_void_p
    library.sf_strerror.restype = ctypes.c_char_p
    library.sf_strerror.argtypes = [ctypes.c_void_p]
    library.sf_error.argtypes = [ctypes.c_void_p]
    library.sf_readf_float.restype = ctypes.c_int64
    library.sf_readf_float.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    _, handle, info = _open(library, settings)
    header = {"rate_hz": info.samplerate, "channels": info.channels, "frames": info.frames}
    _write(json.dumps(header).encode() + b"\n")
    block = _BLOCK_VALUES // info.channels
    buffer = (ctypes.c_float * (block * info.channels))()
    while (got := library.sf_readf_float(handle, buffer, block)) > 0:
        _write(memoryview(buffer).cast("B")[: got * info.channels * 4])
    if library.sf_error(handle):
        _fail(library.sf_strerror(handle))


def _open(library: ctypes.CDLL, settings: dict[str, Any]) -> tuple[_Range, int, _Info]:
    """Opens the file, with the given tag before it if libsndfile believes it to be shorter."""
    tag = bytes.fromhex(settings["tag"])
    for head in (b"", tag):
        patches = [(int(at), bytes.fromhex(new)) for at, new in settings["patches"].items()]
        source = _Range(settings["start"], settings["end"], head, patches)
        info = _Info()
        handle = library.sf_open_virtual(
            ctypes.byref(source.functions), _READ, ctypes.byref(info), None
        )
        if not handle:
            _fail(library.sf_strerror(None))
        if info.frames >= settings["samples"] or not tag:
            break
    return source, handle, info


def _fail(message: bytes) -> None:
    print(f"\n{ERROR_MARK}{json.dumps(message.decode('utf-8', 'replace'))}", file=sys.stderr)
    sys.exit(1)


def _write(data: bytes | memoryview) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    main()
