"""Decodes a file with ffmpeg, in a separate process that writes float samples to a pipe."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.audio import decode_process
from singsong.audio.decode_ffmpeg_log import (
    AudioStream,
    ProbedFile,
    failure_to_open,
    judge,
    probed_file,
)
from singsong.audio.decode_kinds import is_encrypted
from singsong.audio.decode_limits import DecodeLimits
from singsong.audio.decode_process import DecoderProcess
from singsong.audio.decode_source import (
    ByteRange,
    Part,
    ReadOptions,
    check_rate,
    frames_per_block,
)
from singsong.schemas.errors import CorruptAudioError, EncryptedError, NotAudioError

# Containers that hold audio in a single file. Not in the list: images, and playlists and scripts
# (hls, concat, dash, sdp, ...), which would make ffmpeg open other files.
CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,dtshd,eac3,flac,flv,gsm,iff,loas,matroska,mlp,mov,"
    "mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,tak,truehd,tta,voc,w64,wav,wtv,"
    "wv,xwma"
)
# fd and subfile: the file is standard input, and no other can be opened.
# -threads 1: the runner already uses all cores, and each thread costs address space.
_OPTIONS = (
    *("-nostdin", "-hide_banner", "-nostats", "-threads", "1"),
    *("-protocol_whitelist", "fd,subfile", "-format_whitelist", CONTAINERS),
)
# Streams without a container may change between mono and stereo, and ffmpeg would convert the rest
# to the first at -3 dB. These keep the level, and change nothing where nothing changes.
_RAW = frozenset({"aac", "ac3", "dts", "eac3", "loas", "mp3", "mpeg", "mpegts"})
_STEADY = {"mono": "pan=mono|FC=FC+0.5*FL+0.5*FR", "stereo": "pan=stereo|FL=FL+FC|FR=FR+FC"}
_LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "ape", "tak", "tta", "shorten")
_EXTENSIBLE = 0xFFFE


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What the header of the WAV stream says that ffmpeg writes."""

    rate_hz: int
    channels: int
    channel_mask: int


@contextlib.contextmanager
def open_with_ffmpeg(
    fd: int, where: ByteRange, *, known: str | None, options: ReadOptions
) -> Iterator[Part]:
    """Opens the audio stream of a file with ffmpeg: the first marked default, or else the first.

    Args:
        fd: An open regular file; its position is moved.
        where: Which of its bytes ffmpeg sees.
        known: The format that the first bytes name, or None.
        options: How to read it.

    Yields:
        The open stream; reading its blocks may raise the errors below too.

    Raises:
        ClipError: As `singsong.audio.decode.stream_mono`.
    """
    source = _source(fd, where)
    probed, stream = _probe(fd, source, options.limits, known)
    run = _Run(probed=probed, size_bytes=where.end - where.start, options=options)
    with _start(fd, _decode_options(source, probed, stream), options.limits) as process:
        header = _read_header(process)
        if header is None:
            run.check_end(process, 0.0)
            raise CorruptAudioError("ffmpeg decodes none of the audio")
        yield Part(
            rate_hz=check_rate(header.rate_hz),
            channel_mask=header.channel_mask,
            lossless=stream.codec.startswith(_LOSSLESS),
            blocks=run.blocks(process, header),
        )


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What is known of a file while it is decoded."""

    probed: ProbedFile
    size_bytes: int
    options: ReadOptions

    def blocks(self, process: DecoderProcess, header: _Header) -> Iterator[npt.NDArray[np.float32]]:
        bytes_a_frame = header.channels * 4
        size = frames_per_block(header.channels, self.options.block_frames) * bytes_a_frame
        done = 0
        while data := process.read(size):
            whole = len(data) - len(data) % bytes_a_frame
            frames = np.frombuffer(data[:whole], "<f4").reshape(-1, header.channels)
            done += len(frames)
            if len(frames):
                yield frames
            process.allow(done / header.rate_hz / 3600)
        self.check_end(process, done / header.rate_hz)

    def check_end(self, process: DecoderProcess, done_s: float) -> None:
        _, lines = process.finish()
        verdict = judge(lines, done_s=done_s, probed=self.probed, size_bytes=self.size_bytes)
        if verdict.error is not None:
            raise verdict.error
        if verdict.cut:
            self.options.on_cut()


def _source(fd: int, where: ByteRange) -> str:
    if where == ByteRange(start=0, end=os.fstat(fd).st_size):
        return "fd:"
    return f"subfile,,start,{where.start},end,{where.end},,:fd:"


def _start(fd: int, options: tuple[str, ...], limits: DecodeLimits) -> DecoderProcess:
    command = (decode_process.ffmpeg_path(), *_OPTIONS, *options)
    return DecoderProcess(command, fd=fd, limits=limits, name="ffmpeg")


def _probe(
    fd: int, source: str, limits: DecodeLimits, known: str | None
) -> tuple[ProbedFile, AudioStream]:
    with _start(fd, ("-v", "level+info", "-i", source), limits) as process:
        _, lines = process.finish()
    probed = probed_file(lines)
    if is_encrypted(fd):
        raise EncryptedError("the audio is encrypted: only the shop's own player can decode it")
    if probed is None:
        raise failure_to_open(lines, known=known)
    if probed.container == "mp3" and known is None:
        raise NotAudioError("the content looks like mp3, and no frames follow each other in it")
    if not probed.streams:
        raise NotAudioError("the file has no audio stream")
    stream = probed.chosen()
    if stream is None:
        codecs = ", ".join(sorted({stream.codec for stream in probed.streams}))
        raise CorruptAudioError(f"ffmpeg cannot tell how the audio is coded (codec: {codecs})")
    return probed, stream


def _decode_options(source: str, probed: ProbedFile, stream: AudioStream) -> tuple[str, ...]:
    steady = _STEADY.get(stream.layout) if probed.container in _RAW else None
    # A FLAC frame with a wrong checksum decodes to noise; other decoders check enough by default.
    detect = "crccheck+explode" if stream.codec == "flac" else "crccheck"
    return (
        *("-v", "level+repeat+verbose", "-progress", "pipe:2", "-err_detect", detect),
        *("-i", source, "-map", f"0:a:{stream.index}", "-map_metadata", "-1"),
        *(("-af", steady) if steady is not None else ()),
        *("-c:a", "pcm_f32le", "-fflags", "+bitexact", "-f", "wav", "pipe:1"),
    )


def _read_header(process: DecoderProcess) -> _Header | None:
    """Returns the header, having read up to the first sample; None if nothing was written."""
    if len(process.read(12)) < 12:
        return None
    header = None
    while len(chunk := process.read(8)) == 8:
        name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
        if name == b"data":
            break
        body = process.read(size + size % 2)
        if name == b"fmt " and len(body) >= 16:
            kind, channels, rate_hz = struct.unpack("<HHI", body[:8])
            mask = struct.unpack("<I", body[20:24])[0] if kind == _EXTENSIBLE else 0
            header = _Header(rate_hz=rate_hz, channels=channels, channel_mask=mask)
    return header
