"""Decodes mp3, Ogg Vorbis, Opus and unclosed files with libsndfile, in a separate process."""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from singsong.audio import decode_child
from singsong.audio.decode_mpeg import MpegPart
from singsong.audio.decode_mpeg_frame import TAG_HEAD_BYTES, length_tag, stated_frames_at
from singsong.audio.decode_process import DecoderProcess
from singsong.audio.decode_source import (
    ByteRange,
    Part,
    ReadOptions,
    check_rate,
    frames_per_block,
)
from singsong.schemas.errors import CorruptAudioError

# An encoder pads at most 4095 samples at each end, and decoders differ in how they begin.
_MPEG_SLACK_SAMPLES = 9 * 1152
_UNKNOWN_FRAMES = 1 << 62


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """What the program is told.

    Attributes:
        where: The bytes that libsndfile sees.
        samples: It is shown `tag` before them if it believes in fewer samples than this.
        tag: An MPEG frame that states how many frames follow.
        patches: What it is shown instead of the file's bytes, by the offset from the start.
    """

    where: ByteRange
    samples: int = 0
    tag: bytes = b""
    patches: Mapping[int, bytes] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(
            {
                "library": _library(),
                "start": self.where.start,
                "end": self.where.end,
                "samples": self.samples,
                "tag": self.tag.hex(),
                "patches": {at: new.hex() for at, new in self.patches.items()},
            }
        )


@contextlib.contextmanager
def open_mpeg(fd: int, part: MpegPart, options: ReadOptions) -> Iterator[Part]:
    """Opens one part of an MPEG audio file, of which libsndfile sees only the frames.

    Where libsndfile believes the part to be shorter than its frames are, it is shown a tag that
    states their number.

    Args:
        fd: An open regular file; its position is moved.
        part: As `scan_mpeg` found it.
        options: How to read it.

    Yields:
        The open part; reading its blocks may raise the errors below too.

    Raises:
        ClipError: As `singsong.audio.decode.stream_mono`.
    """
    header = os.pread(fd, TAG_HEAD_BYTES, part.where.start)
    stated_at = stated_frames_at(header) if part.tagged else None
    patches = {}
    if stated_at is not None:
        stated = int.from_bytes(header[stated_at : stated_at + 4], "big")
        patches[stated_at] = max(stated, part.frames).to_bytes(4, "big")
    tag = length_tag(part.head, part.frames) if not part.tagged else None
    settings = _Settings(
        where=part.where,
        samples=part.samples,
        tag=tag or b"",
        patches=patches,
    )
    with _open(fd, settings, options, least=part.samples - _MPEG_SLACK_SAMPLES) as opened:
        yield opened


@contextlib.contextmanager
def open_with_libsndfile(
    fd: int, where: ByteRange, options: ReadOptions, *, patches: Mapping[int, bytes] | None = None
) -> Iterator[Part]:
    """Opens what libsndfile reads to its end by itself. As `open_mpeg`.

    Args:
        fd: An open regular file; its position is moved.
        where: Which of its bytes libsndfile sees.
        options: How to read it.
        patches: What it is shown instead of the file's bytes, by the offset from the start.
    """
    settings = _Settings(where=where, patches=patches or {})
    with _open(fd, settings, options, least=None) as opened:
        yield replace(opened, lossless=patches is not None)


@contextlib.contextmanager
def _open(
    fd: int, settings: _Settings, options: ReadOptions, *, least: int | None
) -> Iterator[Part]:
    # -I -S: the program needs no package, and starts faster without looking for any.
    command = [sys.executable, "-I", "-S", decode_child.__file__]
    command.append(settings.as_json())
    with DecoderProcess(command, fd=fd, limits=options.limits, name="libsndfile") as process:
        line = process.read_line()
        if not line:
            _check_end(process, 0)
            raise CorruptAudioError("libsndfile ended without a word")
        header = json.loads(line)
        yield Part(
            rate_hz=check_rate(header["rate_hz"]),
            channel_mask=0,
            lossless=False,
            blocks=_blocks(process, header, options, least),
        )


def _blocks(
    process: DecoderProcess, header: dict[str, int], options: ReadOptions, least: int | None
) -> Iterator[npt.NDArray[np.float32]]:
    channels = header["channels"]
    size = frames_per_block(channels, options.block_frames) * channels * 4
    done = 0
    while data := process.read(size):
        frames = np.frombuffer(data, np.float32).reshape(-1, channels)
        done += len(frames)
        yield frames
        process.allow(done / header["rate_hz"] / 3600)
    _check_end(process, done)
    if least is not None:
        if done < least:
            raise CorruptAudioError(f"the file has {least} samples a channel and yields {done}")
    elif done < header["frames"] < _UNKNOWN_FRAMES:
        options.on_cut()  # nothing is missing from its pages: they state too much


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
