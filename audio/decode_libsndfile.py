"""Decoding by libsndfile in this process, a block at a time."""

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

# Its other formats are known by a few weak bytes or hold no music: Matlab, HTK, sampler dumps.
_FORMATS = frozenset({"AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX"})
_UNKNOWN_FRAMES = 1 << 62
# "Format not recognised", and what it says where two bytes look like MPEG and nothing follows.
_UNRECOGNISED_CODES = frozenset({1, 7})
# An encoder states at most 4095 samples of silence at each end, and the tag frame is no audio.
_MPEG_SLACK_SAMPLES = 9 * 1152


class NotForLibsndfileError(Exception):
    """libsndfile cannot read the file, or not all of it.

    Attributes:
        complaint: What it says is wrong, where it knows the kind of file; else None.
    """

    def __init__(self, complaint: str | None = None) -> None:
        super().__init__(complaint)
        self.complaint = complaint


@dataclass(frozen=True, kw_only=True)
class _Promise:
    """The frames a file is to yield, and by how many it may fall short."""

    frames: int
    slack: int

    def check(self, done: int) -> None:
        if self.frames < _UNKNOWN_FRAMES and done < self.frames - self.slack:
            raise CorruptAudioError(
                f"the file states {self.frames} samples a channel and yields {done}"
            )


class _StraightReader(sf.SoundFile):
    """Reads on and on: soundfile otherwise seeks to where it already is after every block.

    That is slow for flac, and not exact for mp3 and ogg.
    """

    def seekable(self) -> bool:
        return False


@contextlib.contextmanager
def open_with_libsndfile(fd: int, *, limits: DecodeLimits, block_frames: int) -> Iterator[Source]:
    """Opens a file with libsndfile, which decides by the content: it never sees a name.

    Args:
        fd: An open regular file; its position is moved.
        limits: `timeout_s` is checked between blocks.
        block_frames: The most frames to decode at once.

    Yields:
        The file; its blocks raise `CorruptAudioError` or `DecodeTimeoutError` too.

    Raises:
        NotForLibsndfileError: Another decoder has to read the file.
        CorruptAudioError: The sample rate cannot be true.
    """
    os.lseek(fd, 0, os.SEEK_SET)
    try:
        file = _StraightReader(fd, closefd=False)
    except sf.LibsndfileError as error:
        known = error.code not in _UNRECOGNISED_CODES
        raise NotForLibsndfileError(f"libsndfile: {_text(error)}" if known else None) from None
    with file:
        if file.format not in _FORMATS:
            raise NotForLibsndfileError
        promise = _promise(fd, file)
        yield Source(
            rate_hz=check_rate(file.samplerate),
            blocks=_blocks(file, promise, limits.timeout_s, block_frames),
        )


def _promise(fd: int, file: _StraightReader) -> _Promise:
    if not file.subtype.startswith("MPEG"):
        return _Promise(frames=file.frames, slack=0)
    # libsndfile estimates the length of these from the first frame, and reads no further.
    stream = scan_mpeg(fd)
    slack = _MPEG_SLACK_SAMPLES if stream.tagged else 0
    if file.format != "MP3" or stream.resumes or file.frames < stream.samples - slack:
        raise NotForLibsndfileError
    return _Promise(frames=min(file.frames, stream.samples), slack=_MPEG_SLACK_SAMPLES)


def _blocks(
    file: _StraightReader, promise: _Promise, timeout_s: float, block_frames: int
) -> Iterator[npt.NDArray[np.float32]]:
    size = frames_per_block(file.channels, block_frames)
    buffer = np.empty((size, file.channels), np.float32)
    done, left_s = 0, timeout_s
    # Not one frame more than stated: behind the last one flac takes a tag for a broken frame.
    while done < promise.frames:
        start = time.monotonic()
        try:
            got = file.read(out=buffer[: min(size, promise.frames - done)])
        except sf.LibsndfileError as error:
            raise CorruptAudioError(f"libsndfile after {done} samples: {_text(error)}") from None
        left_s -= time.monotonic() - start
        if left_s < 0:
            raise DecodeTimeoutError(f"libsndfile took more than {timeout_s:g} s")
        if not len(got):
            break
        done += len(got)
        yield got
    promise.check(done)


def _text(error: sf.LibsndfileError) -> str:
    text: str = error.error_string
    text = text.removeprefix("Error : ").rstrip(" .").replace(". ", ": ")
    return text[:1].lower() + text[1:]
