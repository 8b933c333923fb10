"""Frames of MPEG audio, against files of which we know what is in them."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.audio.decode_mpeg import MpegLayout, scan_mpeg
from singsong.audio.decode_mpeg_frame import is_length_tag, length_tag, parse_mpeg_header
from tests.support import audio_files as files

FRAME = bytes.fromhex("fffb9000") + b"\x55" * 413
MONO_FRAME = bytes.fromhex("fffb90c0") + b"\x55" * 413
ID3 = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)


def scan(path: Path, data: bytes, *, strict: bool = False) -> MpegLayout:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return scan_mpeg(fd, strict=strict)
    finally:
        os.close(fd)


def frames(layout: MpegLayout) -> list[int]:
    return [part.frames for part in layout.parts]


@pytest.mark.parametrize(
    ("header", "length_bytes", "samples", "rate_hz", "channels"),
    [
        ("fffb9064", 417, 1152, 44100, 2),  # MPEG 1 layer III, 128 kbit/s
        ("fffb9264", 418, 1152, 44100, 2),  # the same, padded
        ("fffd84c0", 384, 1152, 48000, 1),  # MPEG 1 layer II, 128 kbit/s
        ("ffff8000", 4 * (12 * 256000 // 44100), 384, 44100, 2),  # MPEG 1 layer I, 256 kbit/s
        ("fff38064", 208, 576, 22050, 2),  # MPEG 2 layer III, 64 kbit/s
        ("ffe38064", 417, 576, 11025, 2),  # MPEG 2.5 layer III, 64 kbit/s
        ("fffb0064", None, 1152, 44100, 2),  # free format
    ],
)
def test_header_tells_the_frame(
    header: str, length_bytes: int | None, samples: int, rate_hz: int, channels: int
) -> None:
    frame = parse_mpeg_header(bytes.fromhex(header))
    assert frame is not None
    assert (frame.length_bytes, frame.samples) == (length_bytes, samples)
    assert frame.kind[2:] == (rate_hz, channels)


@pytest.mark.parametrize(
    "header",
    ["fffb", "fefb9064", "ffeb9064", "fff99064", "fffbf064", "fffb9c64"],
    ids=["short", "no sync", "version", "layer", "bit rate", "sample rate"],
)
def test_what_is_no_header(header: str) -> None:
    assert parse_mpeg_header(bytes.fromhex(header)) is None


@pytest.mark.parametrize(
    "options",
    [
        ("-f", "mp3", "-b:a", "128k"),
        ("-f", "mp3", "-q:a", "9"),
        ("-f", "mp3", "-ar", "16000", "-write_xing", "0"),
        ("-f", "mp2"),
    ],
)
def test_frames_of_real_files_add_up_to_what_ffmpeg_decodes(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    path = files.write_with_ffmpeg(tmp_path / "a", files.music(2.0), *options)
    layout = scan(path, path.read_bytes())
    (part,) = layout.parts
    decoded = files.read_with_ffmpeg(path, channels=2).shape[1]
    assert part.tagged == ("-write_xing" not in options and "mp2" not in options)
    assert 0 <= part.samples - decoded <= (2 * 1152 if part.tagged else 0)
    assert (layout.junk_at, layout.cut) == (None, False)


@settings(max_examples=50, deadline=None)
@given(count=st.integers(4, 30), junk=st.integers(1, 3000), more=st.integers(0, 10))
def test_run_of_frames_ends_at_junk(
    tmp_path_factory: pytest.TempPathFactory, count: int, junk: int, more: int
) -> None:
    noise = b"\xfe" * junk
    path = tmp_path_factory.getbasetemp() / "junk.mp3"
    layout = scan(path, noise + FRAME * count + noise + FRAME * more)
    assert frames(layout) == ([count, more] if more else [count])
    assert layout.junk_at == (junk + len(FRAME) * count if more else None)


@pytest.mark.parametrize(
    "between",
    [ID3, b"TAG" + bytes(125), bytes(5000), b"TAG" + bytes(125) + ID3 + bytes(7)],
    ids=["ID3v2", "ID3v1", "zeros", "all"],
)
def test_files_joined_with_tags_between_are_parts(tmp_path: Path, between: bytes) -> None:
    layout = scan(tmp_path / "a", FRAME * 9 + between + FRAME * 7)
    assert (frames(layout), layout.junk_at) == ([9, 7], None)


def test_change_of_channels_and_a_tag_frame_begin_a_part(tmp_path: Path) -> None:
    tag = length_tag(FRAME[:4], 5)
    assert tag is not None
    assert is_length_tag(tag)
    layout = scan(tmp_path / "a", FRAME * 9 + MONO_FRAME * 6 + FRAME * 8 + tag + FRAME * 5)
    assert frames(layout) == [9, 6, 8, 5]
    assert [part.tagged for part in layout.parts] == [False, False, False, True]
    assert [part.samples for part in layout.parts] == [1152 * n for n in (9, 6, 8, 5)]
    assert layout.junk_at is None


@pytest.mark.parametrize("start", [ID3 + FRAME, length_tag(FRAME[:4], 9)], ids=["ID3", "Xing"])
def test_file_joined_to_one_that_was_cut_short(tmp_path: Path, start: bytes) -> None:
    layout = scan(tmp_path / "a", FRAME * 9 + FRAME[:100] + start + FRAME * 9)
    assert frames(layout) == [9, 9 + start.startswith(b"ID3")]
    assert layout.junk_at is None


def test_frame_that_the_file_cuts_does_not_count(tmp_path: Path) -> None:
    layout = scan(tmp_path / "a", FRAME * 9 + FRAME[:-1])
    assert (frames(layout), layout.cut) == ([9], True)
    assert not scan(tmp_path / "a", FRAME * 9).cut


def test_strict_search_wants_frames_right_after_tags_and_zeros(tmp_path: Path) -> None:
    assert frames(scan(tmp_path / "a", bytes(1 << 20) + ID3 + FRAME * 9, strict=True)) == [9]
    assert not scan(tmp_path / "a", b"text" + FRAME * 9, strict=True).parts
    assert frames(scan(tmp_path / "a", b"text" + FRAME * 9)) == [9]


def test_tag_with_a_picture_of_frames_is_passed_over(tmp_path: Path) -> None:
    picture = FRAME * 10
    size = bytes([0, 0, len(picture) >> 7, len(picture) & 127])
    tag = b"ID3" + bytes([4, 0, 0]) + size + picture
    assert frames(scan(tmp_path / "a", tag + FRAME * 5)) == [5]


def test_tag_that_states_too_much_hides_no_frames(tmp_path: Path) -> None:
    tag = b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f"
    assert frames(scan(tmp_path / "a", tag + FRAME * 5)) == [5]


@pytest.mark.parametrize("data", [bytes(5000), b"\xff", b"ID3", FRAME[:100], b"\xff\xfb" * 3000])
def test_file_without_frames(tmp_path: Path, data: bytes) -> None:
    assert scan(tmp_path / "a", data) == MpegLayout(parts=(), junk_at=None, cut=False)


def test_look_alikes_without_end_are_given_up(tmp_path: Path) -> None:
    data = FRAME * 5 + b"\xfe" + b"\xff\xfb\x92" * 120_000 + b"\xfe" * 1000
    assert frames(scan(tmp_path / "a", data)) == [5]


def test_search_crosses_its_windows(tmp_path: Path) -> None:
    data = b"\1" * ((1 << 20) - 2) + FRAME * 4000 + np.random.default_rng(0).bytes(100)
    assert frames(scan(tmp_path / "a", data)) == [4000]
