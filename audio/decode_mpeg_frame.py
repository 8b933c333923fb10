"""Frame headers of MPEG audio, and the tag frame that states a length."""

from __future__ import annotations

from dataclasses import dataclass

FRAMES_TO_TRUST = 4
"""So many headers, each where the one before says, are no coincidence."""
TAG_HEAD_BYTES = 48
"""So much of a frame shows whether it is a tag."""
MAX_FRAME_BYTES = 6_000
"""No frame is longer, not even at 640 kbit/s and 16 kHz."""

_VERSION_2_5, _VERSION_RESERVED, _VERSION_1 = 0, 1, 3
_LAYER_III, _LAYER_II, _LAYER_I = 1, 2, 3
_MONO = 3
_XING = (b"Xing", b"Info")
_VBRI_AT = 36
_SIDE_BYTES = {(True, 1): 17, (True, 2): 32, (False, 1): 9, (False, 2): 17}
_RATES_HZ = (44100, 48000, 32000)
_KBPS = {
    (True, _LAYER_I): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, _LAYER_II): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, _LAYER_III): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, _LAYER_I): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, _LAYER_II): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, _LAYER_III): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MIN_FREE_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class MpegFrame:
    """One frame header of an MPEG audio stream.

    Attributes:
        length_bytes: Distance from this header to the next; None in free format, whose frames do
            not state it.
        padding_bytes: What this frame is longer than others of its bit rate.
        samples: Samples per channel in the frame.
        kind: Version, layer, sample rate and number of channels, the same for all frames of a part.
        tag_at: Where a Xing tag would lie in it: behind the empty side information.
    """

    length_bytes: int | None
    padding_bytes: int
    samples: int
    kind: tuple[int, int, int, int]
    tag_at: int


def parse_mpeg_header(header: bytes) -> MpegFrame | None:
    """Returns the frame that these bytes begin, or None if they are not a frame header.

    Args:
        header: At least four bytes to begin a frame; further ones are ignored.

    >>> parse_mpeg_header(bytes.fromhex("fffb9000"))
    MpegFrame(length_bytes=417, padding_bytes=0, samples=1152, kind=(3, 1, 44100, 2), tag_at=36)
    >>> parse_mpeg_header(b"text") is None
    True
    """
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == _VERSION_RESERVED or layer == 0 or bitrate == 15 or rate == 3:
        return None
    first = version == _VERSION_1
    rate_hz = _RATES_HZ[rate] >> (0 if first else 2 if version == _VERSION_2_5 else 1)
    samples = 384 if layer == _LAYER_I else 576 if layer == _LAYER_III and not first else 1152
    slot = 4 if layer == _LAYER_I else 1
    length = None
    if bitrate:
        bits_per_s = _KBPS[first, layer][bitrate - 1] * 1000
        length = (samples // 8 // slot * bits_per_s // rate_hz + padding) * slot
    channels = 1 if header[3] >> 6 == _MONO else 2
    return MpegFrame(
        length_bytes=length,
        padding_bytes=padding * slot,
        samples=samples,
        kind=(version, layer, rate_hz, channels),
        tag_at=4 + _SIDE_BYTES[first, channels],
    )


def free_format_bytes(data: bytes) -> int | None:
    """Returns the length of the frames of a free-format stream, without padding.

    All frames of such a stream have the same length, which is found as the distance to the next
    two headers that are alike.

    Args:
        data: The first frame and at least the header of the third.

    >>> free_format_bytes((bytes.fromhex("fffb0000") + bytes(600)) * 4)
    604
    >>> free_format_bytes(bytes(2000)) is None
    True
    """
    first = parse_mpeg_header(data)
    if first is None or first.length_bytes is not None:
        return None
    at = data.find(data[:2], _MIN_FREE_BYTES)
    while 0 < at <= MAX_FRAME_BYTES:
        second = parse_mpeg_header(data[at : at + 4])
        if second is not None and second.length_bytes is None and second.kind == first.kind:
            length = at - first.padding_bytes
            third = at + length + second.padding_bytes
            last = parse_mpeg_header(data[third : third + 4])
            if last is not None and last.length_bytes is None and last.kind == first.kind:
                return length
        at = data.find(data[:2], at + 1)
    return None


def is_length_tag(frame: bytes) -> bool:
    """Returns whether a frame is a Xing, Info or VBRI tag, which holds no audio.

    Args:
        frame: Its first 48 bytes.

    >>> is_length_tag(bytes.fromhex("fffb9000") + bytes(32) + b"Info" + bytes(8))
    True
    """
    header = parse_mpeg_header(frame)
    if header is None or header.kind[1] != _LAYER_III:
        return False
    at = header.tag_at
    return frame[at : at + 4] in _XING or frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI"


def length_tag(head: bytes, frames: int) -> bytes | None:
    """Returns a Xing tag for frames of the kind of `head`; None if their layer has no such tag.

    Args:
        head: The first four bytes of a frame.
        frames: How many follow.

    >>> len(length_tag(bytes.fromhex("fffb9000"), 3))
    417
    """
    header = parse_mpeg_header(head)
    if header is None or header.kind[1] != _LAYER_III:
        return None
    # 128 kbit/s, or 64 for the lower rates; no checksum and no padding.
    bitrate = 9 if header.kind[0] == _VERSION_1 else 8
    own = bytes([head[0], head[1] | 1, bitrate << 4 | head[2] & 0x0C, head[3]])
    length = parse_mpeg_header(own)
    assert length is not None
    assert length.length_bytes is not None
    tag = own.ljust(header.tag_at, b"\0") + b"Xing" + (1).to_bytes(4, "big")
    return (tag + frames.to_bytes(4, "big")).ljust(length.length_bytes, b"\0")


def stated_frames_at(frame: bytes) -> int | None:
    """Returns where in a Xing tag its number of frames lies, or None if it states none.

    Args:
        frame: The first 48 bytes of the tag.

    >>> stated_frames_at(length_tag(bytes.fromhex("fffb9000"), 3)[:48])
    44
    """
    header = parse_mpeg_header(frame)
    at = header.tag_at if header is not None else 0
    if frame[at : at + 4] not in _XING or not frame[at + 7] & 1:
        return None
    return at + 8
