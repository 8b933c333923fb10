"""Runs a decoder as a separate process, which is killed if it exceeds its limits.

The process reads the file as its standard input and writes samples to a pipe. Nothing is written to
a disk. What it prints to standard error is kept here and never reaches the terminal.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import resource
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Self

import imageio_ffmpeg

from singsong.audio.decode_limits import DecodeLimits
from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    DecodeTimeoutError,
)

_PIPE_BYTES = 1 << 18
_KEPT_LINES = 300
_MAX_LINE = 1_000
_GRACE_S = 5.0
_ENV_FAILED = (126, 127)  # env did not find the program, or may not start it


class DecoderProcess:
    """A running decoder; leaving its context ends and reaps it.

    Args:
        command: The program and its arguments.
        fd: The file; its position is moved to the start.
        limits: What the process may use.
        name: What errors call the decoder.

    Raises:
        OSError: No process can be started.
    """

    def __init__(self, command: Sequence[str], *, fd: int, limits: DecodeLimits, name: str) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        self._process = subprocess.Popen(
            # An arena per thread would use up the address space.
            ["env", "MALLOC_ARENA_MAX=1", *command],
            stdin=fd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdout, self._stderr = self._process.stdout.fileno(), self._process.stderr.fileno()
        self._poll = select.poll()
        for pipe in (self._stdout, self._stderr):
            os.set_blocking(pipe, False)
            self._poll.register(pipe, select.POLLIN)
        self._open = {self._stdout, self._stderr}
        self._name = name
        self._timeout_s = self._allowed_s = self._left_s = limits.timeout_s
        self._ahead = bytearray()
        self._lines = _Lines()
        _limit(self._process.pid, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def allow(self, audio_hours: float) -> None:
        """Extends the time limit to that of so many hours of audio, if they are more than one."""
        more_s = self._timeout_s * audio_hours - self._allowed_s
        if more_s > 0:
            self._left_s += more_s
            self._allowed_s += more_s

    def read(self, count: int) -> bytes:
        """Returns `count` bytes of standard output, fewer at its end.

        Raises:
            DecodeTimeoutError: The decoder takes too long.
        """
        while len(self._ahead) < count and self._stdout in self._open:
            self._wait()
        data = bytes(self._ahead[:count])
        del self._ahead[:count]
        return data

    def read_line(self) -> bytes:
        """Returns standard output up to a line break, or all of it. Raises as `read`."""
        while b"\n" not in self._ahead and self._stdout in self._open:
            self._wait()
        line, _, rest = bytes(self._ahead).partition(b"\n")
        self._ahead = bytearray(rest)
        return line

    def finish(self) -> tuple[int, list[str]]:
        """Waits for the end; returns the exit status and the lines of standard error.

        Of very many lines, the first and the last are returned.

        Raises:
            DecodeTimeoutError: The decoder takes too long.
            DecodeMemoryError: The system killed it.
            CorruptAudioError: It crashed.
            FileNotFoundError: There is no such program.
        """
        while self._open:
            self._wait()
        try:
            status = self._process.wait(max(self._left_s, 1))
        except subprocess.TimeoutExpired:
            raise self._timeout() from None
        if status < 0:
            raise _death(-status, self._name)
        lines = self._lines.kept()
        if status in _ENV_FAILED and lines and lines[-1].startswith("env: "):
            raise FileNotFoundError(errno.ENOENT, f"{self._name} cannot be started: {lines[-1]}")
        return status, lines

    def _wait(self) -> None:
        start = time.monotonic()
        ready = self._poll.poll(max(self._left_s, 0) * 1000)
        self._left_s -= time.monotonic() - start
        if not ready:
            raise self._timeout()
        for pipe, _ in ready:
            data = os.read(pipe, _PIPE_BYTES)
            if not data:
                self._poll.unregister(pipe)
                self._open.remove(pipe)
            elif pipe == self._stdout:
                self._ahead += data
            else:
                self._lines.add(data)

    def _timeout(self) -> DecodeTimeoutError:
        return DecodeTimeoutError(
            f"{self._name} took more than {self._timeout_s:g} s for an hour of audio or less"
        )

    def _stop(self) -> None:
        # The process may have ended; on macOS its zombie may not be signalled.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()


class _Lines:
    """The first and the last lines of a text, however long it is."""

    def __init__(self) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._rest = b""

    def add(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[:_MAX_LINE]
        for line in lines:
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        text = line[:_MAX_LINE].decode("utf-8", "replace")
        if len(self._first) < _KEPT_LINES:
            self._first.append(text)
        else:
            self._last.append(text)

    def kept(self) -> list[str]:
        """Returns them in their order."""
        if self._rest:
            self._keep(self._rest)
            self._rest = b""
        return [*self._first, *self._last]


@functools.lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """Returns the path of the ffmpeg that imageio-ffmpeg bundles.

    Raises:
        RuntimeError: There is no ffmpeg for this machine.

    >>> "ffmpeg" in ffmpeg_path()
    True
    """
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _death(number: int, name: str) -> ClipError:
    if number == signal.SIGXCPU:
        return DecodeTimeoutError(f"{name} used up the processor time it may have")
    if number == signal.SIGKILL:
        return DecodeMemoryError(f"the system killed {name}, most likely for its memory")
    return CorruptAudioError(f"{name} crashed with signal {number}")


def _limit(pid: int, limits: DecodeLimits) -> None:
    """Limits a process that just started; only Linux can do that from outside.

    The caller enforces the timeout; the limit of processor time applies if the caller is gone.
    """
    if not hasattr(resource, "prlimit"):
        return
    cpu_s = math.ceil(limits.timeout_s * max(1.0, limits.max_track_hours)) + 1
    for kind, limit in _limits_of(limits.memory_bytes, cpu_s):
        # The process may have ended already.
        with contextlib.suppress(ProcessLookupError):
            hard = resource.prlimit(pid, kind)[1]
            soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.prlimit(pid, kind, (soft, hard))


def _limits_of(memory_bytes: int, cpu_s: int) -> Iterator[tuple[int, int]]:
    yield resource.RLIMIT_AS, memory_bytes
    yield resource.RLIMIT_CPU, cpu_s
    yield resource.RLIMIT_CORE, 0
    yield resource.RLIMIT_FSIZE, 0  # it writes no files
