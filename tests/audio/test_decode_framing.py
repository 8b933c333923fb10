"""Frames of MPEG audio and pages of Ogg, against files of which we know what is in them."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.audio.decode_framing import (
    MpegStream,
    OggLayout,
    parse_mpeg_header,
    scan_mpeg,
    scan_ogg,
)
from tests.support import audio_files as files

FRAME = bytes.fromhex("fffb9000") + bytes(413)


def scan(scanner, path: Path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return scanner(fd)
    finally:
        os.close(fd)


def scan_mpeg_bytes(tmp_path: Path, data: bytes) -> MpegStream:
    path = tmp_path / "a.mp3"
    path.write_bytes(data)
    return scan(scan_mpeg, path)


@pytest.mark.parametrize(
    ("header", "length_bytes", "samples", "rate_hz"),
    [
        ("fffb9064", 417, 1152, 44100),  # MPEG 1 layer III, 128 kbit/s
        ("fffb9264", 418, 1152, 44100),  # the same, padded
        ("fffd84c0", 384, 1152, 48000 // 1),  # MPEG 1 layer II, 128 kbit/s
        ("ffff8000", 4 * (12 * 256000 // 44100), 384, 44100),  # MPEG 1 layer I, 256 kbit/s
        ("fff38064", 208, 576, 22050),  # MPEG 2 layer III, 64 kbit/s
        ("ffe38064", 417, 576, 11025),  # MPEG 2.5 layer III, 64 kbit/s
    ],
)
def test_header_tells_the_frame(header: str, length_bytes: int, samples: int, rate_hz: int) -> None:
    frame = parse_mpeg_header(bytes.fromhex(header))
    assert frame is not None
    assert (frame.length_bytes, frame.samples) == (length_bytes, samples)
    assert frame.kind[2] == rate_hz


@pytest.mark.parametrize(
    "header",
    ["fffb", "fefb9064", "ffeb9064", "fff99064", "fffb0064", "fffbf064", "fffb9c64"],
    ids=["short", "no sync", "version", "layer", "free format", "bit rate", "sample rate"],
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
    stream = scan(scan_mpeg, path)
    decoded = files.read_with_ffmpeg(path, channels=2).shape[1]
    assert not stream.resumes
    assert stream.tagged == ("-write_xing" not in options and "mp2" not in options)
    assert 0 <= stream.samples - decoded <= (3 * 1152 if stream.tagged else 0)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 30), junk=st.integers(0, 3000), more=st.integers(0, 10))
def test_run_of_frames_ends_at_junk(
    tmp_path_factory: pytest.TempPathFactory, frames: int, junk: int, more: int
) -> None:
    frames, noise = frames + 3, b"\xfe" * junk
    stream = scan_mpeg_bytes(
        tmp_path_factory.getbasetemp(), b"\xfe" * junk + FRAME * frames + noise + FRAME * more
    )
    if junk:
        assert stream == MpegStream(samples=1152 * frames, tagged=False, resumes=more > 0)
    else:
        assert stream == MpegStream(samples=1152 * (frames + more), tagged=False, resumes=False)


def test_frame_that_the_file_cuts_does_not_count(tmp_path: Path) -> None:
    assert scan_mpeg_bytes(tmp_path, FRAME * 9 + FRAME[:-1]).samples == 1152 * 9


def test_tag_with_a_picture_of_frames_is_passed_over(tmp_path: Path) -> None:
    picture = FRAME * 10
    size = bytes([0, 0, len(picture) >> 7, len(picture) & 127])
    tag = b"ID3" + bytes([4, 0, 0]) + size + picture
    assert scan_mpeg_bytes(tmp_path, tag + FRAME * 5).samples == 1152 * 5


def test_file_without_frames(tmp_path: Path) -> None:
    assert scan_mpeg_bytes(tmp_path, bytes(5000)).samples == 0
    assert scan_mpeg_bytes(tmp_path, b"\xff").samples == 0
    assert scan_mpeg_bytes(tmp_path, b"ID3").samples == 0


def test_look_alikes_without_end_are_given_up(tmp_path: Path) -> None:
    data = FRAME * 5 + b"\xfe" + b"\xff\xfb\x90" * 120_000 + b"\xfe" * 1000
    assert scan_mpeg_bytes(tmp_path, data).resumes


def test_search_crosses_its_windows(tmp_path: Path) -> None:
    data = bytes((1 << 20) - 2) + FRAME * 4000 + np.random.default_rng(0).bytes(100)
    assert scan_mpeg_bytes(tmp_path, data).samples == 1152 * 4000


def test_ogg_pages(tmp_path: Path) -> None:
    path = files.write_audio(tmp_path / "a.ogg", files.music(3.0), container="OGG")
    data = path.read_bytes()
    whole = OggLayout(truncated=False, streams=1)
    assert scan(scan_ogg, path) == whole
    path.write_bytes(data + b"tail")
    assert scan(scan_ogg, path) == whole
    path.write_bytes(data[:5000] + bytes(5000) + data[5000:])
    assert scan(scan_ogg, path) == whole
    path.write_bytes(data + data)
    assert scan(scan_ogg, path) == OggLayout(truncated=False, streams=2)
    last = data.rindex(b"OggS")
    path.write_bytes(data[:last])
    assert scan(scan_ogg, path) == whole
    for cut in (last + 10, last + 27, len(data) - 1):
        path.write_bytes(data[:cut])
        assert scan(scan_ogg, path).truncated
