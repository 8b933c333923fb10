"""Decodes mp3, Ogg Vorbis and Opus with libsndfile, in a separate process."""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import json
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from singsong.audio import decode_child
from singsong.audio.decode_mpeg import MpegPart
from singsong.audio.decode_mpeg_frame import length_tag, stated_frames_at
from singsong.audio.decode_process import DecoderProcess
from singsong.audio.decode_source import (
    ByteRange,
    DecodeLimits,
    Part,
    check_rate,
    frames_per_block,
)
from singsong.schemas.errors import CorruptAudioError

# An encoder pads at most 4095 samples at each end, and decoders differ in how they begin.
_MPEG_SLACK_SAMPLES = 9 * 1152


@contextlib.contextmanager
def open_mpeg(
    fd: int, part: MpegPart, *, limits: DecodeLimits, block_frames: int
) -> Iterator[Part]:
    """Opens one part of an MPEG audio file, of which libsndfile sees only the frames.

    Where libsndfile believes the part to be shorter than its frames are, it is shown a tag that
    states their number.

    Args:
        fd: An open regular file; its position is moved.
        part: As `scan_mpeg` found it.
        limits: What the process may use.
        block_frames: Maximum number of frames per block.

    Yields:
        The open part; reading its blocks may raise the errors below too.

    Raises:
        ClipError: As `singsong.audio.decode.stream_mono`.
    """
    header = os.pread(fd, 48, part.where.start)
    samples_a_frame = 1152 if header[1] >> 3 & 3 == 3 or header[1] >> 1 & 3 != 1 else 576
    frames = part.samples // samples_a_frame
    stated_at = stated_frames_at(header) if part.tagged else None
    patch_at, patch = 0, b""
    if stated_at is not None and int.from_bytes(header[stated_at : stated_at + 4], "big") < frames:
        patch_at, patch = stated_at, frames.to_bytes(4, "big")
    tag = length_tag(part.head, frames) if not part.tagged else None
    settings = {
        **{"tag": (tag or b"").hex(), "patch_at": patch_at, "patch": patch.hex()},
        "samples": part.samples,
    }
    least = part.samples - _MPEG_SLACK_SAMPLES
    with _open(fd, part.where, settings, limits, block_frames, least) as opened:
        yield opened


@contextlib.contextmanager
def open_ogg(
    fd: int, where: ByteRange, *, limits: DecodeLimits, block_frames: int
) -> Iterator[Part]:
    """Opens one link of a chained Ogg file, which holds Vorbis or Opus. As `open_mpeg`."""
    settings = {"tag": "", "patch_at": 0, "patch": "", "samples": 0}
    with _open(fd, where, settings, limits, block_frames, None) as opened:
        yield opened


@contextlib.contextmanager
def _open(
    fd: int,
    where: ByteRange,
    settings: dict[str, int | str],
    limits: DecodeLimits,
    block_frames: int,
    least: int | None,
) -> Iterator[Part]:
    whole = {**settings, "library": _library(), "start": where.start, "end": where.end}
    # -I -S: the program needs no package, and starts faster without looking for any.
    command = [sys.executable, "-I", "-S", decode_child.__file__, json.dumps(whole)]
    with DecoderProcess(command, fd=fd, limits=limits, name="libsndfile") as process:
        line = process.read_line()
        if not line:
            _check_end(process, 0)
            raise CorruptAudioError("libsndfile ended without a word")
        header = json.loads(line)
        yield Part(
            rate_hz=check_rate(header["rate_hz"]),
            channel_mask=0,
            lossless=False,
            blocks=_blocks(process, header, block_frames, least),
        )


def _blocks(
    process: DecoderProcess, header: dict[str, int], block_frames: int, least: int | None
) -> Iterator[npt.NDArray[np.float32]]:
    channels = header["channels"]
    size = frames_per_block(channels, block_frames) * channels * 4
    done = 0
    while data := process.read(size):
        frames = np.frombuffer(data, np.float32).reshape(-1, channels)
        done += len(frames)
        yield frames
        process.allow(done / header["rate_hz"] / 3600)
    _check_end(process, done)
    stated = header["frames"] if least is None else least
    if done < stated < 1 << 62:
        raise CorruptAudioError(f"the file states {stated} samples a channel and yields {done}")


def _check_end(process: DecoderProcess, done: int) -> None:
    status, lines = process.finish()
    if not status:
        return
    for line in reversed(lines):
        if line.startswith(decode_child.ERROR_MARK):
            text = str(json.loads(line.removeprefix(decode_child.ERROR_MARK)))
            raise CorruptAudioError(f"libsndfile after {done} samples: {_plain(text)}")
    last = lines[-1] if lines else "no message"
    raise RuntimeError(f"the program that runs libsndfile failed with status {status}: {last}")


@functools.lru_cache(maxsize=1)
def _library() -> str:
    """Returns the path or name of the libsndfile that soundfile brings, or the system's.

    Raises:
        RuntimeError: There is none.
    """
    spec = find_spec("_soundfile_data")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted(Path(folder).glob("libsndfile*")):
            return str(path)
    name = ctypes.util.find_library("sndfile")
    if name is None:
        raise RuntimeError("there is no libsndfile: reinstall the package soundfile")
    return name


def _plain(text: str) -> str:
    text = text.removeprefix("Error : ").rstrip(" .").replace(". ", ": ")
    return text[:1].lower() + text[1:]
