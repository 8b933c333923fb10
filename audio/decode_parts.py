"""Finds the parts of a file and opens each with the decoder it needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator

from singsong.audio.decode_ffmpeg import open_with_ffmpeg
from singsong.audio.decode_joined import is_cut, joined_files
from singsong.audio.decode_kinds import audio_kind, is_alac_in_caf, no_audio_kind
from singsong.audio.decode_libsndfile import open_mpeg, open_with_libsndfile
from singsong.audio.decode_mpeg import MpegLayout, scan_mpeg
from singsong.audio.decode_ogg import OggPart, scan_ogg
from singsong.audio.decode_source import ByteRange, Part, ReadOptions
from singsong.audio.decode_unclosed import sizes_to_patch
from singsong.schemas.errors import CorruptAudioError, NotAudioError

_CHANNELS_AT = {b"\x01vorbis": 11, b"OpusHead": 9}


def read_parts(fd: int, options: ReadOptions) -> Generator[Part]:
    """Yields the parts of a file in their order; each is closed when the next is requested.

    Args:
        fd: An open regular file; its position is moved.
        options: How to read it.

    Raises:
        ClipError: As `singsong.audio.decode.stream_mono`.
    """
    kind = no_audio_kind(fd)
    if kind is not None:
        raise NotAudioError(f"the file is {kind}, not a recording")
    known = audio_kind(fd)
    mpeg = scan_mpeg(fd, strict=True) if known is None else None
    if mpeg is not None and mpeg.parts:
        yield from _mpeg_parts(fd, mpeg, options)
    elif known == "an Ogg file":
        yield from _ogg_parts(fd, options)
    elif (patches := sizes_to_patch(fd)) or is_alac_in_caf(fd):
        whole = ByteRange(start=0, end=os.fstat(fd).st_size)
        with open_with_libsndfile(fd, whole, options, patches=patches) as part:
            yield part
    elif known is not None:
        for where in joined_files(fd, known):
            yield from _with_ffmpeg(fd, where, known, options)
        if is_cut(fd):
            options.on_cut()
    else:
        yield from _unknown_parts(fd, options)


def _unknown_parts(fd: int, options: ReadOptions) -> Iterator[Part]:
    whole = ByteRange(start=0, end=os.fstat(fd).st_size)
    parts = _with_ffmpeg(fd, whole, None, options)
    with contextlib.closing(parts):
        try:
            first = next(parts)
        except NotAudioError:
            # Frames of MPEG may begin after bytes of any kind.
            mpeg = scan_mpeg(fd)
            if not mpeg.parts:
                raise
        else:
            yield first
            return
    yield from _mpeg_parts(fd, mpeg, options)


def _with_ffmpeg(
    fd: int, where: ByteRange, known: str | None, options: ReadOptions
) -> Generator[Part]:
    with open_with_ffmpeg(fd, where, known=known, options=options) as part:
        yield part


def _mpeg_parts(fd: int, layout: MpegLayout, options: ReadOptions) -> Iterator[Part]:
    if layout.junk_at is not None:
        raise CorruptAudioError(
            f"the bytes at {layout.junk_at} are no MPEG frame and no tag, and more frames follow"
        )
    for found in layout.parts:
        if found.samples:
            with open_mpeg(fd, found, options) as part:
                yield part
    if layout.cut:
        options.on_cut()


def _ogg_parts(fd: int, options: ReadOptions) -> Iterator[Part]:
    layout = scan_ogg(fd)
    if layout.damage is not None:
        raise CorruptAudioError(f"the Ogg file is damaged: {layout.damage}")
    if not layout.parts:
        raise CorruptAudioError("the Ogg file ends in its first page")
    for found in layout.parts:
        if _is_for_libsndfile(found):
            with open_with_libsndfile(fd, found.where, options) as part:
                yield part
        else:
            yield from _with_ffmpeg(fd, found.where, "an Ogg file", options)
    if layout.cut:
        options.on_cut()


def _is_for_libsndfile(part: OggPart) -> bool:
    """Returns whether this is one stream of Vorbis or Opus with one or two channels.

    The channels of more have an order of their own, which libsndfile does not tell.
    """
    if len(part.heads) != 1:
        return False
    (head,) = part.heads
    at = next((at for magic, at in _CHANNELS_AT.items() if head.startswith(magic)), None)
    return at is not None and len(head) > at and head[at] in (1, 2)
