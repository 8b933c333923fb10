"""Pages of Ogg, against files of which we know what is in them."""

import os
from pathlib import Path

import numpy as np
import pytest

from singsong.audio.decode_ogg import OggLayout, ogg_checksum, scan_ogg
from tests.support import audio_files as files
from tests.support.decoding import decode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("ogg") / "a.ogg"
    return files.write_audio(path, files.music(3.0), container="OGG").read_bytes()


def scan(path: Path, data: bytes) -> OggLayout:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return scan_ogg(fd)
    finally:
        os.close(fd)


def ranges(layout: OggLayout) -> list[tuple[int, int]]:
    return [(part.where.start, part.where.end) for part in layout.parts]


@pytest.mark.parametrize("tail", [b"", b"tail", bytes(9000)])
def test_sound_file_is_one_part(tmp_path: Path, whole: bytes, tail: bytes) -> None:
    layout = scan(tmp_path / "a", whole + tail)
    assert ranges(layout) == [(0, len(whole))]
    assert layout.parts[0].heads[0].startswith(b"\x01vorbis")
    assert (layout.damage, layout.cut) == (None, False)


def test_chained_files_are_parts(tmp_path: Path, whole: bytes) -> None:
    size = len(whole)
    layout = scan(tmp_path / "a", whole * 3)
    assert ranges(layout) == [(0, size), (size, 2 * size), (2 * size, 3 * size)]
    assert layout.damage is None


def test_file_cut_inside_its_last_page(tmp_path: Path, whole: bytes) -> None:
    last = whole.rindex(b"OggS")
    assert not scan(tmp_path / "a", whole[:last]).cut
    for cut in (last + 10, last + 27, len(whole) - 1):
        layout = scan(tmp_path / "a", whole[:cut])
        assert (ranges(layout), layout.cut, layout.damage) == ([(0, last)], True, None)


def test_damage_before_the_end_is_named(tmp_path: Path, whole: bytes) -> None:
    second = whole.index(b"OggS", 4)
    third = whole.index(b"OggS", second + 4)
    flipped = whole[: third - 1] + bytes([whole[third - 1] ^ 1]) + whole[third:]
    assert scan(tmp_path / "a", flipped).damage == f"the page at {second} is damaged"
    missing = whole[:second] + whole[third:]
    assert scan(tmp_path / "a", missing).damage == f"pages are missing at {second}"
    stuffed = whole[:third] + b"junk" + whole[third:]
    assert "belong to no page" in str(scan(tmp_path / "a", stuffed).damage)


def test_checksum_is_that_of_real_pages(whole: bytes) -> None:
    page = whole[: whole.index(b"OggS", 4)]
    assert ogg_checksum(page) == int.from_bytes(page[22:26], "little")


@pytest.mark.parametrize(("subtype", "more"), [("VORBIS", 9000), ("OPUS", 9000)])
def test_file_that_states_more_than_its_pages_hold_is_decoded_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, subtype: str, more: int
) -> None:
    """As `legacy_soundtrack/track12.opus` of Debian's warzone2100-music does, by 10 samples."""
    audio = files.music(2.0, rate_hz=48000)
    path = files.write_audio(tmp_path / "a", audio, 48000, container="OGG", subtype=subtype)
    whole = decode(path, 48000)
    assert not caplog.records
    data = bytearray(path.read_bytes())
    page = data.rindex(b"OggS")
    stated = int.from_bytes(data[page + 6 : page + 14], "little")
    data[page + 6 : page + 14] = (stated + more).to_bytes(8, "little")
    data[page + 22 : page + 26] = ogg_checksum(bytes(data[page:])).to_bytes(4, "little")
    path.write_bytes(data)
    found = decode(path, 48000)
    assert len(whole) <= len(found) < len(whole) + more
    np.testing.assert_array_equal(found[: len(whole)], whole)
    assert "is cut short or states too much" in caplog.text
