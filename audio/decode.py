"""Music files of any kind, as mono blocks at one rate.

libsndfile reads wav, flac, ogg, opus, mp3 and aiff here, a block at a time. pydub and ffmpeg read
the rest (m4a, aac, wma, webm, ...), and what libsndfile would read only in part, in a program of
their own that can be killed. The content decides, never the name. The samples that come out are the
truth, never a length in a header; but a file that stops short of what its coding must hold, or that
its decoder complains about, is refused: nothing half-decoded passes for whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

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
# What is wrong with this machine and not with the file.
_OUR_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def stream_mono(
    path: str,
    *,
    rate_hz: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
    block_frames: int = 1 << 16,
) -> Iterator[npt.NDArray[np.float32]]:
    """Returns the audio of a file, averaged over its channels, at one rate, block by block.

    An error can come after any number of blocks, and condemns them all. What libsndfile decodes
    keeps its NaN and infinite samples; the resampler spreads each of them over less than a tenth of
    a second and no further. ffmpeg's output is rounded to 16 bits.

    Args:
        path: A local file. A name that is not UTF-8 comes with surrogate escapes, as `os.fsdecode`
            makes them.
        rate_hz: Samples per second of the result.
        limits: What decoding may cost.
        block_frames: The most frames to decode at once. The samples do not depend on it.

    Returns:
        Consecutive non-empty float32 [samples], at least one. Nothing is opened before the first
        one is asked for; closing the iterator, at any time, ends the decoder.

    Raises:
        ValueError: `rate_hz` or `block_frames` is not positive; at once.
        UnreadableFileError: There is no such file, or we may not read it; this and all below from
            the iterator.
        EmptyFileError: The file has no bytes, or no samples.
        NotAudioError: The path is not that of a file, or no decoder recognises audio in it.
        CorruptAudioError: A decoder complains, crashes or stops before the end of the audio, or the
            sample rate cannot be true.
        DecodeTimeoutError: The decoder takes too long.
        DecodeMemoryError: The decoder needs too much memory.

    >>> import soundfile, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".mp3") as file:  # a wav: its name says nothing
    ...     soundfile.write(file.name, np.zeros((44100, 2)), 44100, format="WAV")
    ...     sum(len(block) for block in stream_mono(file.name, rate_hz=16000))
    16000
    """
    if rate_hz <= 0 or block_frames <= 0:
        raise ValueError(
            f"rate_hz and block_frames must be positive, found {rate_hz} and {block_frames}"
        )
    return _stream(path, rate_hz, limits, block_frames)


def read_channels(
    path: str, *, limits: DecodeLimits = DEFAULT_LIMITS, block_frames: int = 1 << 16
) -> tuple[npt.NDArray[np.float32], int]:
    """Returns the audio of a file as it is, whole in memory, and its sample rate.

    Args:
        path: As in `stream_mono`.
        limits: What decoding may cost.
        block_frames: The most frames to decode at once.

    Returns:
        float32 [channels, samples], and samples per second.

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
    if _in_one_piece(fd):
        try:
            return stack.enter_context(
                open_with_libsndfile(fd, limits=limits, block_frames=block_frames)
            )
        except NotForLibsndfileError as error:
            complaint = error.complaint
    return stack.enter_context(
        open_with_ffmpeg(fd, limits=limits, block_frames=block_frames, complaint=complaint)
    )


def _in_one_piece(fd: int) -> bool:
    """Returns False for chained and multiplexed Ogg, of which libsndfile reads one stream only.

    Raises:
        CorruptAudioError: An Ogg file ends inside a page; no decoder minds that.
    """
    if os.pread(fd, 4, 0) != b"OggS":
        return True
    layout = scan_ogg(fd)
    if layout.truncated:
        raise CorruptAudioError("the Ogg file ends inside a page")
    return layout.streams == 1


def _open_file(path: str) -> int:
    try:
        # Without O_NONBLOCK a named pipe would hold us until somebody writes to it.
        fd = os.open(os.fsencode(path), os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _OUR_ERRORS:
            raise
        raise UnreadableFileError(f"the file cannot be opened: {error.strerror}") from None
    except ValueError:
        raise UnreadableFileError("the path is not one that a file can have") from None
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_size:
        return fd
    os.close(fd)
    if stat.S_ISREG(status.st_mode):
        raise EmptyFileError("the file has no bytes")
    raise NotAudioError("the path is a folder or a device, not a file")
