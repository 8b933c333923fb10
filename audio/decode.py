"""Decodes music files of any format to mono blocks at one sample rate.

libsndfile reads wav, flac, ogg, opus, mp3 and aiff in this process, a block at a time. pydub and
ffmpeg read the other formats (m4a, aac, wma, webm, ...), and files that libsndfile would read only
in part, in a separate process that can be killed. The content determines the format, never the file
name. The decoded samples determine the length, never a header. A file that ends before its headers
say, or about which its decoder complains, is refused, so that no partly decoded file is accepted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from singsong import storage
from singsong.audio.decode_framing import scan_ogg
from singsong.audio.decode_libsndfile import NotForLibsndfileError, open_with_libsndfile
from singsong.audio.decode_process import open_with_ffmpeg
from singsong.audio.decode_source import DecodeLimits, Source, average_channels
from singsong.audio.resample import resample_blocks
from singsong.schemas.errors import (
    CorruptAudioError,
    EmptyFileError,
    NotAudioError,
    UnreadableFileError,
)

__all__ = ["DEFAULT_LIMITS", "DecodeLimits", "read_channels", "stream_mono"]

DEFAULT_LIMITS = DecodeLimits()


def stream_mono(
    path: str,
    *,
    rate_hz: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
    block_frames: int = 1 << 16,
) -> Iterator[npt.NDArray[np.float32]]:
    """Returns the mean of the channels of a file at one sample rate, block by block.

    An error can follow any number of blocks and makes all of them invalid. NaN and infinite samples
    are kept; the resampler spreads them over less than 0.1 s. ffmpeg decodes to 16 bits.

    Args:
        path: A local file; a name that is not UTF-8 has surrogate escapes, as from `os.fsdecode`.
        rate_hz: Sample rate of the result.
        limits: Time and memory limits of the decoder.
        block_frames: Maximum number of frames to decode at once; does not affect the samples.

    Returns:
        Non-empty float32 [samples], at least one. The first opens the file; closing ends it.

    Raises:
        ValueError: `rate_hz` or `block_frames` is not positive; the others come while iterating.
        UnreadableFileError: The file does not exist or cannot be opened.
        EmptyFileError: The file has no bytes or no samples.
        NotAudioError: The path is not a file, or no decoder recognises its content.
        CorruptAudioError: A decoder complains or stops early, or the sample rate is implausible.
        DecodeTimeoutError: The decoder takes too long.
        DecodeMemoryError: The decoder needs too much memory.

    >>> import soundfile, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".mp3") as file:  # a wav, despite its name
    ...     soundfile.write(file.name, np.zeros((44100, 2)), 44100, format="WAV")
    ...     sum(len(block) for block in stream_mono(file.name, rate_hz=16000))
    16000
    """
    if min(rate_hz, block_frames) <= 0:
        found = f"{rate_hz} and {block_frames}"
        raise ValueError(f"rate_hz and block_frames must be positive, found {found}")
    return _stream(path, rate_hz, limits, block_frames)


def read_channels(
    path: str, *, limits: DecodeLimits = DEFAULT_LIMITS, block_frames: int = 1 << 16
) -> tuple[npt.NDArray[np.float32], int]:
    """Returns the whole audio of a file with all its channels, and its sample rate.

    Args:
        path: As in `stream_mono`.
        limits: Time and memory limits of the decoder.
        block_frames: Maximum number of frames to decode at once.

    Returns:
        float32 [channels, samples], and the sample rate in Hz.

    Raises:
        ClipError: As `stream_mono`.
    """
    with _source(path, limits, block_frames) as source:
        blocks = [frames.T.copy() for frames in source.blocks]
    if not blocks:
        raise EmptyFileError("the file decodes to no samples")
    return np.concatenate(blocks, axis=1), source.rate_hz


def _stream(
    path: str, rate_hz: int, limits: DecodeLimits, block_frames: int
) -> Iterator[npt.NDArray[np.float32]]:
    any_samples = False
    with _source(path, limits, block_frames) as source:
        mono = map(average_channels, source.blocks)
        for block in resample_blocks(mono, from_hz=source.rate_hz, to_hz=rate_hz):
            any_samples = True
            yield block
    if not any_samples:
        raise EmptyFileError("the file decodes to no samples")


@contextlib.contextmanager
def _source(path: str, limits: DecodeLimits, block_frames: int) -> Iterator[Source]:
    with contextlib.ExitStack() as stack:
        fd = _open_file(path)
        stack.callback(os.close, fd)
        yield _open_source(stack, fd, limits, block_frames)


def _open_source(
    stack: contextlib.ExitStack, fd: int, limits: DecodeLimits, block_frames: int
) -> Source:
    complaint = None
    if not _has_several_streams(fd):
        try:
            return stack.enter_context(
                open_with_libsndfile(fd, limits=limits, block_frames=block_frames)
            )
        except NotForLibsndfileError as error:
            complaint = error.complaint
    return stack.enter_context(
        open_with_ffmpeg(fd, limits=limits, block_frames=block_frames, complaint=complaint)
    )


def _has_several_streams(fd: int) -> bool:
    """Returns whether this is chained or multiplexed Ogg, where libsndfile reads only one stream.

    Raises:
        CorruptAudioError: An Ogg file ends inside a page, which the decoders do not report.
    """
    if os.pread(fd, 4, 0) != b"OggS":
        return False
    layout = scan_ogg(fd)
    if layout.truncated:
        raise CorruptAudioError("the Ogg file ends inside a page")
    return layout.streams != 1


def _open_file(path: str) -> int:
    try:
        # Without O_NONBLOCK, opening a named pipe would block until somebody writes to it.
        fd = os.open(os.fsencode(path), os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if storage.is_machine_trouble(error):
            raise
        raise UnreadableFileError(f"the file cannot be opened: {error.strerror}") from None
    except ValueError:
        raise UnreadableFileError("the path is not a valid file name") from None
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return fd
    os.close(fd)
    if stat.S_ISREG(status.st_mode):
        raise EmptyFileError("the file has no bytes")
    raise NotAudioError("the path is a folder or a device, not a file")
