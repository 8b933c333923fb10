"""Decodes a file with libsndfile in this process, a block at a time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soundfile as sf

from singsong.audio.decode_framing import scan_mpeg
from singsong.audio.decode_source import (
    DecodeLimits,
    Source,
    check_rate,
    frames_per_block,
)
from singsong.schemas.errors import CorruptAudioError, DecodeTimeoutError

# libsndfile detects its other formats by few bytes, or they hold no music (Matlab, HTK, samplers).
_FORMATS = frozenset({"AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"})
_UNKNOWN_FRAMES = 1 << 62
# "Format not recognised", and the error for two bytes that look like MPEG but begin no frame.
_UNRECOGNISED_CODES = frozenset({1, 7})
# An encoder pads at most 4095 samples at each end, and the tag frame holds no audio.
_MPEG_SLACK_SAMPLES = 9 * 1152


class NotForLibsndfileError(Exception):
    """libsndfile cannot read the file completely.

    Attributes:
        complaint: Its error message if it recognises the format, else None.
    """

    def __init__(self, complaint: str | None = None) -> None:
        super().__init__(complaint)
        self.complaint = complaint


@dataclass(frozen=True, kw_only=True)
class _ExpectedLength:
    """The number of frames a file should yield, and the tolerated shortfall."""

    frames: int
    slack: int

    def check(self, done: int) -> None:
        if self.frames < _UNKNOWN_FRAMES and done < self.frames - self.slack:
            raise CorruptAudioError(
                f"the file states {self.frames} samples a channel and yields {done}"
            )


class _SequentialFile(sf.SoundFile):
    """A file that is never seeked: soundfile otherwise seeks to its position after each block.

    Seeking is slow for flac and inexact for mp3 and ogg.
    """

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def open_with_libsndfile(fd: int, *, limits: DecodeLimits, block_frames: int) -> Iterator[Source]:
    """Opens a file with libsndfile, which sees only its content, not its name.

    Args:
        fd: An open regular file; its position is moved.
        limits: `timeout_s` is checked between blocks.
        block_frames: Maximum number of frames to decode at once.

    Yields:
        The open file; reading its blocks may also raise `DecodeTimeoutError`.

    Raises:
        NotForLibsndfileError: Another decoder must read the file.
        CorruptAudioError: The sample rate is implausible, or the file is damaged.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        file = _SequentialFile(fd, closefd=False)
    except sf.LibsndfileError as error:
        known = error.code not in _UNRECOGNISED_CODES
        raise NotForLibsndfileError(f"libsndfile: {_text(error)}" if known else None) from None
    with file:
        if file.format not in _FORMATS:
            raise NotForLibsndfileError
        expected = _expected_length(fd, file)
        yield Source(
            rate_hz=check_rate(file.samplerate),
            blocks=_blocks(file, expected, limits.timeout_s, block_frames),
        )


def _expected_length(fd: int, file: _SequentialFile) -> _ExpectedLength:
    if not file.subtype.startswith("MPEG"):
        return _ExpectedLength(frames=file.frames, slack=0)
    # libsndfile estimates the length from the first frame, and does not read beyond that.
    stream = scan_mpeg(fd)
    slack = _MPEG_SLACK_SAMPLES if stream.tagged else 0
    if file.format != "MP3" or stream.resumes or file.frames < stream.samples - slack:
        raise NotForLibsndfileError
    return _ExpectedLength(frames=min(file.frames, stream.samples), slack=_MPEG_SLACK_SAMPLES)


def _blocks(
    file: _SequentialFile, expected: _ExpectedLength, timeout_s: float, block_frames: int
) -> Iterator[npt.NDArray[np.float32]]:
    size = frames_per_block(file.channels, block_frames)
    buffer = np.empty((size, file.channels), np.float32)
    done, left_s = 0, timeout_s
    # Never request more frames than stated: flac would take a tag at the end for a broken frame.
    while done < expected.frames:
        start = time.monotonic()
        try:
            got = file.read(out=buffer[: min(size, expected.frames - done)])
        except sf.LibsndfileError as error:
            raise CorruptAudioError(f"libsndfile after {done} samples: {_text(error)}") from None
        left_s -= time.monotonic() - start
        if left_s < 0:
            raise DecodeTimeoutError(f"libsndfile took more than {timeout_s:g} s")
        if not len(got):
            break
        done += len(got)
        yield got
    expected.check(done)


def _text(error: sf.LibsndfileError) -> str:
    text: str = error.error_string
    text = text.removeprefix("Error : ").rstrip(" .").replace(". ", ": ")
    return text[:1].lower() + text[1:]
