"""Finds the parts of a file and opens each with the decoder it needs."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator

from singsong.audio.decode_bytes import BufferedFile
from singsong.audio.decode_ffmpeg import open_with_ffmpeg
from singsong.audio.decode_kinds import audio_kind, no_audio_kind
from singsong.audio.decode_libsndfile import open_mpeg, open_ogg
from singsong.audio.decode_mpeg import MpegLayout, scan_mpeg
from singsong.audio.decode_ogg import OggPart, scan_ogg
from singsong.audio.decode_source import ByteRange, DecodeLimits, Part
from singsong.schemas.errors import CorruptAudioError, NotAudioError

_FLAC_START = re.compile(rb"fLaC\x00\x00\x00\x22")
_VORBIS, _OPUS = b"\x01vorbis", b"OpusHead"
_CHANNELS_AT = {_VORBIS: 11, _OPUS: 9}


def read_parts(
    fd: int, *, limits: DecodeLimits, block_frames: int, on_cut: Callable[[], None]
) -> Iterator[Part]:
    """Yields the parts of a file in their order; each is closed when the next is requested.

    Args:
        fd: An open regular file; its position is moved.
        limits: What each decoding process may use.
        block_frames: Maximum number of frames per block.
        on_cut: Called if the file ends before its audio does.

    Raises:
        ClipError: As `singsong.audio.decode.stream_mono`.
    """
    for opened in _openers(fd, limits, block_frames, on_cut):
        with opened as part:
            yield part


Opener = contextlib.AbstractContextManager[Part]


def _openers(
    fd: int, limits: DecodeLimits, block_frames: int, on_cut: Callable[[], None]
) -> Iterator[Opener]:
    not_audio = no_audio_kind(fd)
    if not_audio is not None:
        raise NotAudioError(f"the file is {not_audio}, not a recording")
    known = audio_kind(fd)

    def with_ffmpeg(where: ByteRange) -> Opener:
        return open_with_ffmpeg(
            fd, where, limits=limits, block_frames=block_frames, known=known, on_cut=on_cut
        )

    mpeg = scan_mpeg(fd, strict=True) if known is None else None
    if mpeg is not None and mpeg.parts:
        yield from _mpeg_openers(fd, mpeg, limits, block_frames, on_cut)
    elif known == "an Ogg file":
        yield from _ogg_openers(fd, limits, block_frames, on_cut, with_ffmpeg)
    elif known == "a FLAC file":
        yield from map(with_ffmpeg, _flac_parts(fd))
    else:
        whole = ByteRange(start=0, end=os.fstat(fd).st_size)
        try:
            opened = with_ffmpeg(whole)
            part = opened.__enter__()
        except NotAudioError:
            mpeg = scan_mpeg(fd) if known is None else None
            if mpeg is None or not mpeg.parts:
                raise
            yield from _mpeg_openers(fd, mpeg, limits, block_frames, on_cut)
        else:
            with contextlib.ExitStack() as stack:
                stack.push(opened)
                yield contextlib.nullcontext(part)


def _mpeg_openers(
    fd: int,
    layout: MpegLayout,
    limits: DecodeLimits,
    block_frames: int,
    on_cut: Callable[[], None],
) -> Iterator[Opener]:
    if layout.junk_at is not None:
        raise CorruptAudioError(
            f"the bytes at {layout.junk_at} are no MPEG frame and no tag, and more frames follow"
        )
    for part in layout.parts:
        if part.samples:
            yield open_mpeg(fd, part, limits=limits, block_frames=block_frames)
    if layout.cut:
        on_cut()


def _ogg_openers(
    fd: int,
    limits: DecodeLimits,
    block_frames: int,
    on_cut: Callable[[], None],
    with_ffmpeg: Callable[[ByteRange], Opener],
) -> Iterator[Opener]:
    layout = scan_ogg(fd)
    if layout.damage is not None:
        raise CorruptAudioError(f"the Ogg file is damaged: {layout.damage}")
    if not layout.parts:
        raise CorruptAudioError("the Ogg file ends in its first page")
    for part in layout.parts:
        if _is_for_libsndfile(part):
            yield open_ogg(fd, part.where, limits=limits, block_frames=block_frames)
        else:
            yield with_ffmpeg(part.where)
    if layout.cut:
        on_cut()


def _is_for_libsndfile(part: OggPart) -> bool:
    """Returns whether this is one stream of Vorbis or Opus with one or two channels.

    The channels of more have an order of their own, which libsndfile does not tell.
    """
    if len(part.heads) != 1:
        return False
    (head,) = part.heads
    at = next((at for magic, at in _CHANNELS_AT.items() if head.startswith(magic)), None)
    return at is not None and len(head) > at and head[at] in (1, 2)


def _flac_parts(fd: int) -> Iterator[ByteRange]:
    """Yields the FLAC files that were joined to this one."""
    source = BufferedFile(fd)
    start = source.after_tags(0)
    while start < source.size:
        behind = _after_flac_metadata(source, start)
        found = source.search(_FLAC_START, behind, width=8)
        end = source.size if found is None else found
        yield ByteRange(start=start, end=end)
        start = end


def _after_flac_metadata(source: BufferedFile, start: int) -> int:
    """Returns the offset behind the metadata blocks, in which another FLAC file may be embedded."""
    offset, last = start + 4, False
    while not last and len(head := source.at(offset, 4)) == 4:
        last = bool(head[0] & 0x80)
        offset += 4 + int.from_bytes(head[1:], "big")
    return offset
