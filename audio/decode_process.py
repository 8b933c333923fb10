"""Decodes a file with ffmpeg in a separate process, which is killed if it exceeds its limits."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Any, NoReturn

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from singsong.audio.decode_source import (
    DecodeLimits,
    Source,
    check_rate,
    frames_per_block,
)
from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    DecodeTimeoutError,
)

_CHILD = "singsong.audio.decode_child"
_GRACE_S = 2.0
_PIPE_BYTES = 1 << 18
_ERRORS = {error.reason: error for error in ClipError.__subclasses__()}


@contextlib.contextmanager
def open_with_ffmpeg(
    fd: int, *, limits: DecodeLimits, block_frames: int, complaint: str | None
) -> Iterator[Source]:
    """Decodes a file to int16 with pydub and ffmpeg, and streams the result.

    Leaving the context always ends the processes and removes the temporary files.

    Args:
        fd: An open regular file; its position is moved.
        limits: Time and memory limits of the child process.
        block_frames: Maximum number of frames per block.
        complaint: The message of another decoder if it recognises the format: a damaged file.

    Yields:
        The open file; reading its blocks may raise the errors below too.

    Raises:
        NotAudioError: ffmpeg does not recognise the content, or it has no audio.
        CorruptAudioError: ffmpeg complains or crashes.
        EmptyFileError: The file decodes to no samples.
        DecodeTimeoutError: Decoding takes too long.
        DecodeMemoryError: Decoding needs too much memory.
        RuntimeError: The child process cannot run: a broken installation or a full disk.
    """
    if os.fstat(fd).st_size > limits.memory_bytes:
        raise DecodeMemoryError("the file alone is larger than the memory for decoding it")
    with (
        tempfile.TemporaryDirectory(prefix="singsong-", ignore_cleanup_errors=True) as folder,
        open(os.path.join(folder, "stderr"), "w+b") as stderr,
    ):
        process = _start(fd, limits, folder, stderr, complaint)
        try:
            pipe = _Pipe(process, stderr, limits.timeout_s)
            report = pipe.read_report()
            yield Source(
                rate_hz=check_rate(report["rate_hz"]),
                blocks=_blocks(pipe, report["channels"], report["frames"], block_frames),
            )
        finally:
            _stop(process)


def _start(
    fd: int, limits: DecodeLimits, folder: str, stderr: IO[bytes], complaint: str | None
) -> subprocess.Popen[bytes]:
    os.lseek(fd, 0, os.SEEK_SET)
    settings = {
        "complaint": complaint,
        "ffmpeg": ffmpeg_path(),
        "folder": folder,
        "memory_bytes": limits.memory_bytes,
        "timeout_s": limits.timeout_s,
    }
    return subprocess.Popen(
        # -P: do not import a file in the working directory that has the name of a library.
        [sys.executable, "-P", "-m", _CHILD, json.dumps(settings)],
        stdin=fd,
        stdout=subprocess.PIPE,
        stderr=stderr,  # a file: a full pipe that nobody reads would block the child
        start_new_session=True,
    )


@functools.lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """Returns the path of the ffmpeg that imageio-ffmpeg bundles.

    Raises:
        RuntimeError: There is no ffmpeg for this machine.

    >>> "ffmpeg" in ffmpeg_path()
    True
    """
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the child and its ffmpeg, first by SIGTERM, so that the child can reap ffmpeg."""
    if process.returncode is not None:
        return
    assert process.stdout is not None
    process.stdout.close()
    for kill, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        # Already ended, or (on macOS) only the zombie is left, which is reaped below.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, kill)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            return


def _blocks(
    pipe: _Pipe, channels: int, frames: int, block_frames: int
) -> Iterator[npt.NDArray[np.float32]]:
    size = frames_per_block(channels, block_frames)
    while frames > 0:
        data = pipe.read(min(size, frames) * channels * 2)
        frames -= min(size, frames)
        values = np.frombuffer(data, "<i2").reshape(-1, channels)
        yield np.divide(values, 32768, dtype=np.float32)


class _Pipe:
    """Reads from the child process within the time limit."""

    def __init__(
        self, process: subprocess.Popen[bytes], stderr: IO[bytes], timeout_s: float
    ) -> None:
        assert process.stdout is not None
        self._process = process
        self._stderr = stderr
        self._fd = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._timeout_s = self._left_s = timeout_s
        self._ahead = bytearray()

    def read_report(self) -> dict[str, Any]:
        """Returns the report in the first line, or raises the error that it names."""
        while b"\n" not in self._ahead:
            self._fill()
        line, _, rest = bytes(self._ahead).partition(b"\n")
        self._ahead = bytearray(rest)
        report: dict[str, Any] = json.loads(line)
        if "reason" in report:
            raise _ERRORS[report["reason"]](report["message"])
        return report

    def read(self, count: int) -> bytes:
        """Returns exactly `count` bytes."""
        while len(self._ahead) < count:
            self._fill()
        data = bytes(self._ahead[:count])
        del self._ahead[:count]
        return data

    def _fill(self) -> None:
        start = time.monotonic()
        ready = self._poll.poll(max(self._left_s, 0) * 1000)
        self._left_s -= time.monotonic() - start
        if not ready:
            raise DecodeTimeoutError(f"ffmpeg took more than {self._timeout_s:g} s")
        data = os.read(self._fd, _PIPE_BYTES)
        if not data:
            self._raise_death()
        self._ahead += data

    def _raise_death(self) -> NoReturn:
        """Raises the error for a child process that ended early, without a report."""
        _stop(self._process)
        status = self._process.returncode
        if -status == signal.SIGXCPU:
            raise DecodeTimeoutError("the decoder used up the processor time it may have")
        if -status == signal.SIGKILL:
            raise DecodeMemoryError("the system killed the decoder, most likely for its memory")
        if status < 0:
            raise CorruptAudioError(f"the decoder crashed with signal {-status}")
        self._stderr.seek(0)
        last = self._stderr.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise RuntimeError(f"the decoder program failed with status {status}: {last}")
