"""The program that decodes one file with pydub and ffmpeg, within time and memory limits.

`singsong.audio.decode_process` starts it as `python -m singsong.audio.decode_child SETTINGS`, with
the file as standard input and its own process group. It writes one line of JSON to standard output:
either `reason` and `message`, or `rate_hz`, `channels` and `frames` followed by the samples as
interleaved little-endian int16.

It starts once per file, so it imports nothing heavy.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import resource
import shlex
import signal
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

from singsong.schemas.errors import (
    ClipError,
    CorruptAudioError,
    DecodeMemoryError,
    DecodeTimeoutError,
    EmptyFileError,
    NotAudioError,
)

if TYPE_CHECKING:
    from pydub import AudioSegment

# Containers that hold audio in a single file. Not in the list: images, and playlists and scripts
# (hls, concat, dash, sdp, ...), which would make ffmpeg open other files.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,iff,loas,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,tak,truehd,tta,voc,w64,wav,wtv,"
    "wv,xwma"
)
# -xerror: otherwise ffmpeg skips damaged parts and exits with 0.
# -threads 1: the runner already uses all cores, and each thread costs address space.
OPTIONS = (
    *("-nostdin", "-hide_banner", "-loglevel", "error", "-xerror", "-threads", "1"),
    *("-protocol_whitelist", "file", "-format_whitelist", CONTAINERS, "-vn", "-sn", "-dn"),
)
# pydub reads the length of a wav from its header, a 32-bit number.
MAX_WAV_BYTES = 2**32 - 1

_PREFIX = re.compile(r"^(\[[^]]* @ 0x[0-9a-f]+\] *)+")
_UNINFORMATIVE = re.compile(
    r"Error opening (in|out)put|Error (submitting|processing) packet|Task finished|Terminating "
    r"thread|Conversion failed|Last message repeated|Nothing was written|Error muxing|"
    r"Failed to find two consecutive MPEG|Not detecting m3u8"
)
_OUT_OF_MEMORY = re.compile(r"Cannot allocate memory|pthread_create\(\) failed")
_DISK_FULL = re.compile(r"No space left on device")
_NO_AUDIO = re.compile(r"does not contain any stream")
_NOT_OPENED = re.compile(r"Error opening input")
_NOT_WHITELISTED = re.compile(r"Format not on whitelist")
_MAX_MESSAGE = 200


def main() -> None:
    """Decodes standard input to standard output; `SETTINGS` is the only argument, in JSON."""
    settings = json.loads(sys.argv[1])
    # SIGTERM ends ffmpeg; this program outlives it, so that no zombie process is left.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _set_limits(settings["memory_bytes"], settings["timeout_s"])
    try:
        segment = _decode(settings).set_sample_width(2)
    except ClipError as error:
        _report({"reason": error.reason, "message": str(error)})
    except MemoryError:
        message = "the decoded audio is too large to hold"
        _report({"reason": DecodeMemoryError.reason, "message": message})
    else:
        frames = len(segment.raw_data) // segment.frame_width
        _report({"rate_hz": segment.frame_rate, "channels": segment.channels, "frames": frames})
        _write(segment.raw_data)


def failure_of(
    returncode: int, stderr: list[str], *, folder: str, complaint: str | None = None
) -> ClipError | OSError | None:
    """Returns the error of a file, given the exit status and the messages of ffmpeg.

    Args:
        returncode: Exit status; negative if a signal ended ffmpeg.
        stderr: The lines of its standard error, at log level "error".
        folder: Folder of the temporary files, which is removed from the message.
        complaint: The message of another decoder that recognises the format, if there is one.

    Returns:
        None if there is no error; an `OSError` if the disk is full, which is not the file's fault.
        A complaint of ffmpeg counts even if it exits with 0, as it does for a webm or an Ogg file
        with a part missing.

    >>> failure_of(183, ["[in#0 @ 0x5f] moov atom not found", "Conversion failed!"], folder="/tmp")
    CorruptAudioError('ffmpeg: moov atom not found')
    >>> failure_of(0, [], folder="/tmp") is None
    True
    """
    text = "\n".join(stderr)
    last = _last_complaint(stderr, folder)
    return _ended_early(returncode, text) or _complained(returncode, text, last, complaint)


def _ended_early(returncode: int, text: str) -> ClipError | OSError | None:
    if -returncode == signal.SIGXCPU:
        return DecodeTimeoutError("ffmpeg used up its processor time")
    if -returncode in (signal.SIGXFSZ, signal.SIGKILL) or _OUT_OF_MEMORY.search(text):
        return DecodeMemoryError("ffmpeg needs more memory, or writes more audio, than it may")
    if _DISK_FULL.search(text):
        return OSError("the disk of the temporary files is full")
    if returncode < 0:
        return CorruptAudioError(f"ffmpeg crashed with signal {-returncode}")
    return None


def _complained(
    returncode: int, text: str, last: str | None, complaint: str | None
) -> ClipError | None:
    if _NOT_WHITELISTED.search(text):
        return NotAudioError("the content is of a kind that holds no audio")
    if _NO_AUDIO.search(text):
        return NotAudioError("the file has no audio stream")
    if last is not None:
        return CorruptAudioError("; ".join(filter(None, (f"ffmpeg: {last}", complaint))))
    if returncode == 0:
        return None
    if complaint is None and _NOT_OPENED.search(text):
        return NotAudioError("no decoder recognises the content as audio")
    return CorruptAudioError(complaint or "ffmpeg failed to decode the file")


def _last_complaint(stderr: list[str], folder: str) -> str | None:
    for line in reversed(stderr):
        text = _PREFIX.sub("", line.strip())
        if text and not _UNINFORMATIVE.match(text):
            if folder:
                text = re.sub(re.escape(folder) + r"/[^\s'\"]*", "the file", text)
            printable = "".join(c if c.isprintable() else "?" for c in text)
            return printable[:_MAX_MESSAGE].rstrip(" .")
    return None


def _decode(settings: dict[str, Any]) -> AudioSegment:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub finds no ffmpeg on the path; it is given one below
        from pydub import AudioSegment
        from pydub.exceptions import CouldntDecodeError

    folder = tempfile.tempdir = settings["folder"]
    AudioSegment.converter = _write_converter(settings["ffmpeg"], folder)
    stderr = _StderrLines()
    returncode = 0
    try:
        segment = AudioSegment.from_file_using_temporary_files(sys.stdin.buffer)
    except CouldntDecodeError as error:
        status = re.search(r"error code: (-?\d+)", str(error))
        if status is None:
            raise EmptyFileError("the file decodes to no samples") from None
        returncode = int(status[1])
    found = failure_of(returncode, stderr.lines, folder=folder, complaint=settings["complaint"])
    if found is not None:
        raise found
    return segment


def _write_converter(ffmpeg: str, folder: str) -> str:
    """Returns the path of a script that adds `OPTIONS`: pydub takes no options for the input."""
    path = os.path.join(folder, "ffmpeg")
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as script:
        script.write(
            "#!/bin/sh\n"
            "export MALLOC_ARENA_MAX=1\n"  # an arena per thread would use up the address space
            f'exec {shlex.join([ffmpeg, *OPTIONS])} "$@"\n'
        )
    os.chmod(path, 0o700)
    return path


class _StderrLines(logging.Handler):
    """Collects ffmpeg's standard error from pydub's log, which holds it after a success too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        logger = logging.getLogger("pydub.converter")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.args and isinstance(record.args[0], bytes):
            self.lines.append(record.args[0].decode("utf-8", "replace"))


def _set_limits(memory_bytes: int, timeout_s: float) -> None:
    """Sets the resource limits of this program and of the ffmpeg it starts.

    The parent process enforces the timeout; the CPU limit applies if the parent is gone.
    """
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_FSIZE: min(memory_bytes, MAX_WAV_BYTES),
        resource.RLIMIT_CPU: math.ceil(timeout_s) + 1,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform == "darwin":
        del limits[resource.RLIMIT_AS]  # macOS refuses to set it
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, hard))


def _report(report: dict[str, Any]) -> None:
    _write(json.dumps(report).encode() + b"\n")


def _write(data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    main()
