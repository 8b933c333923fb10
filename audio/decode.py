"""Decodes music files of any format to mono blocks at one sample rate.

The content determines the format, never the file name, and the decoded samples determine the
length, never a header. libsndfile decodes mp3, Ogg Vorbis and Opus, ffmpeg everything else, each in
a separate process with limits, whose samples are streamed in constant memory. Of several audio
streams, the first that is marked default is decoded, or else the first.

What a file consists of:

- Files that were joined, and chained Ogg files, are decoded in turn, each at its level.
- A file that is cut short, or that states more than it holds, is decoded as far as it goes, and a
  warning is logged, in every format: in some, such a file cannot be told from a whole one.
- A file of which a part before the end cannot be decoded is refused as corrupt: what follows would
  be at the wrong time. Complaints about covers, tags, chapters and other streams do not count.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from singsong import storage
from singsong.audio.decode_bitstream import BitstreamCheck
from singsong.audio.decode_limits import DecodeLimits
from singsong.audio.decode_parts import read_parts
from singsong.audio.decode_source import Part, ReadOptions
from singsong.audio.downmix import mix_to_mono, mono_weights, stereo_weights
from singsong.audio.resample import resample, resample_blocks
from singsong.schemas.errors import (
    EmptyFileError,
    NotAudioError,
    TooLongError,
    UnreadableFileError,
)

__all__ = [
    "DEFAULT_LIMITS",
    "VERSION",
    "DecodeLimits",
    "read_channels",
    "stream_mono",
    "stream_stereo",
]

# The version of this step's arithmetic, part of the name of every part; raised whenever decoded
# samples change.
VERSION = 2
DEFAULT_LIMITS = DecodeLimits()
_LOGGER = logging.getLogger(__name__)


def stream_mono(
    path: str,
    *,
    rate_hz: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
    block_frames: int = 1 << 16,
    on_cut: Callable[[], object] | None = None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Returns the mono mix of a file at one sample rate, block by block.

    Mono and stereo give the mean of their channels; more channels are mixed as in `mono_weights`.
    An error can follow any number of blocks and makes all of them invalid. NaN and infinite samples
    are kept; the resampler spreads them over less than 0.1 s.

    Args:
        path: A local file; a name that is not UTF-8 has surrogate escapes, as from `os.fsdecode`.
        rate_hz: Sample rate of the result.
        limits: Time, memory and length limits.
        block_frames: Maximum number of frames to decode at once; does not affect the samples.
        on_cut: Called if the file is cut short or states too much; None logs a warning.

    Returns:
        Non-empty float32 [samples], at least one. The first opens the file; closing ends it.

    Raises:
        ValueError: `rate_hz` or `block_frames` is not positive; the others come while iterating.
        UnreadableFileError, EmptyFileError: The file cannot be opened, or has no bytes or samples.
        NotAudioError: The path is not a file, or no decoder recognises its content.
        EncryptedError, BitstreamError: The audio is encrypted, or is DTS or AC-3 data in PCM.
        CorruptAudioError: A part of the audio cannot be decoded, or the sample rate is implausible.
        TooLongError: The file decodes to more than `limits.max_track_hours`.
        DecodeTimeoutError, DecodeMemoryError: The decoder takes too long, or too much memory.

    >>> import soundfile, tempfile
    >>> with tempfile.NamedTemporaryFile(suffix=".mp3") as file:  # a wav, despite its name
    ...     soundfile.write(file.name, np.zeros((44100, 2)), 44100, format="WAV")
    ...     sum(len(block) for block in stream_mono(file.name, rate_hz=16000))
    16000
    """
    _check_sizes(rate_hz, block_frames)
    return _mixed(_parts(path, limits, block_frames, on_cut), rate_hz, _mono)


def stream_stereo(
    path: str,
    *,
    rate_hz: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
    block_frames: int = 1 << 16,
    on_cut: Callable[[], object] | None = None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Returns the stereo mix of a file, block by block: float32 [samples, 2]. As `stream_mono`.

    Stereo stays as it is, mono is copied; more channels are mixed as in `stereo_weights`.
    """
    _check_sizes(rate_hz, block_frames)
    return _mixed(_parts(path, limits, block_frames, on_cut), rate_hz, _stereo)


def read_channels(
    path: str, *, limits: DecodeLimits = DEFAULT_LIMITS, block_frames: int = 1 << 16
) -> tuple[npt.NDArray[np.float32], int]:
    """Returns the whole audio of a file with all its channels, and its sample rate.

    Files that were joined get the channels and the rate of the first.

    Args:
        path: As in `stream_mono`.
        limits: As in `stream_mono`.
        block_frames: Maximum number of frames to decode at once.

    Returns:
        float32 [channels, samples], and the sample rate in Hz.

    Raises:
        ClipError: As `stream_mono`.
    """
    found: list[npt.NDArray[np.float32]] = []
    rate_hz = 0
    with _parts(path, limits, block_frames) as parts:
        for part in parts:
            blocks = [frames.T.copy() for frames in part.blocks]
            if not blocks:
                continue
            rate_hz = rate_hz or part.rate_hz
            audio = resample(np.concatenate(blocks, axis=1), from_hz=part.rate_hz, to_hz=rate_hz)
            found.append(_like(audio, found[0]) if found else audio)
    if not found:
        raise EmptyFileError("the file decodes to no samples")
    return np.concatenate(found, axis=1), rate_hz


def _like(
    audio: npt.NDArray[np.float32], first: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    if len(audio) == len(first):
        return audio
    return np.repeat(audio.mean(axis=0, keepdims=True), len(first), axis=0)


def _check_sizes(rate_hz: int, block_frames: int) -> None:
    if min(rate_hz, block_frames) <= 0:
        found = f"{rate_hz} and {block_frames}"
        raise ValueError(f"rate_hz and block_frames must be positive, found {found}")


def _mixed(
    opening: contextlib.AbstractContextManager[Iterator[Part]],
    rate_hz: int,
    mix: Callable[[Part], Iterator[npt.NDArray[np.float32]]],
) -> Iterator[npt.NDArray[np.float32]]:
    any_samples = False
    with opening as parts:
        for from_hz, alike in itertools.groupby(parts, key=lambda part: part.rate_hz):
            mixed = (block for part in alike for block in mix(part))
            for block in resample_blocks(mixed, from_hz=from_hz, to_hz=rate_hz):
                any_samples = True
                yield block
    if not any_samples:
        raise EmptyFileError("the file decodes to no samples")


def _mono(part: Part) -> Iterator[npt.NDArray[np.float32]]:
    weights: tuple[float, ...] = ()
    for frames in part.blocks:
        weights = weights or mono_weights(frames.shape[1], part.channel_mask)
        yield mix_to_mono(frames, weights)


def _stereo(part: Part) -> Iterator[npt.NDArray[np.float32]]:
    for frames in part.blocks:
        sides = stereo_weights(frames.shape[1], part.channel_mask)
        yield np.stack([mix_to_mono(frames, weights) for weights in sides], axis=1)


@contextlib.contextmanager
def _parts(
    path: str,
    limits: DecodeLimits,
    block_frames: int,
    on_cut: Callable[[], object] | None = None,
) -> Iterator[Iterator[Part]]:
    """Yields the parts of a file, whose samples are counted and looked at."""
    report = functools.cache(on_cut or functools.partial(_log_cut, path))
    fd = _open_file(path)
    try:
        with contextlib.closing(
            read_parts(
                fd,
                ReadOptions(limits=limits, block_frames=block_frames, on_cut=report),
            )
        ) as parts:
            yield _watched(parts, limits)
    finally:
        os.close(fd)


def _watched(parts: Iterator[Part], limits: DecodeLimits) -> Iterator[Part]:
    seconds = 0.0

    def watch(part: Part) -> Iterator[npt.NDArray[np.float32]]:
        nonlocal seconds
        check = BitstreamCheck(part.rate_hz) if part.lossless else None
        for frames in part.blocks:
            seconds += len(frames) / part.rate_hz
            if seconds > limits.max_track_hours * 3600:
                raise TooLongError(
                    f"the file decodes to more than {limits.max_track_hours:g} hours: if it "
                    "is music, raise --max-track-hours of `singsong prepare`"
                )
            if check is not None:
                check.look(frames)
            yield frames
        if check is not None:
            check.finish()

    for part in parts:
        yield replace(part, blocks=watch(part))


def _log_cut(path: str) -> None:
    _LOGGER.warning("%r is cut short or states too much: it was decoded as far as it goes", path)


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
