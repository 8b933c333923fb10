from __future__ import annotations

from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from singsong.evaluation.listening_page import ListeningClip, Sound, write_listening_page
from singsong.evaluation.spectrogram import (
    HIGHEST_HZ,
    LOUDEST_DB,
    LOWEST_HZ,
    QUIETEST_DB,
    band_levels_db,
    spectrogram_png,
)

HOSTILE = "../<script>alert('x')</script>\"onload=\"alert(1)&amp;</style>/\udcff\n"


class Page(HTMLParser):
    """What a browser makes of the page: elements with attributes, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def tone(
    *, seconds: float = 1.0, sample_rate_hz: int = 16000, pitch_hz: float = 440
) -> np.ndarray[Any, np.dtype[np.float32]]:
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)


def two_clips(name: str = "clip") -> list[ListeningClip]:
    sounds = [
        Sound(label=f"{name} mix", audio=tone(sample_rate_hz=44100), sample_rate_hz=44100),
        Sound(label=f"{name} vocals", audio=tone(seconds=0.5), sample_rate_hz=16000),
    ]
    return [ListeningClip(name=name, figures={name: name, "SNR": "3 dB"}, sounds=sounds)] * 2


def write(folder: Path, clips: list[ListeningClip], title: str = "Title") -> Page:
    page = write_listening_page(str(folder), clips, title=title, summary_rows=[(title, title)])
    assert page == str(folder / "index.html")
    return Page(folder / "index.html")


def test_everything_that_is_referenced_is_there_and_nothing_else(tmp_path: Path) -> None:
    page = write(tmp_path, two_clips())
    sources = [element["src"] for tag in ("img", "audio") for element in page.all(tag)]
    assert len(set(sources)) == 8
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"index.html", *sources}
    assert not page.all("link")
    assert all("src" not in script for script in page.all("script"))
    assert "http" not in (tmp_path / "index.html").read_text()
    targets = {str(link["href"]) for link in page.all("a")}
    assert targets == {f"#{section['id']}" for section in page.all("section")}


def test_audio_can_be_read_back(tmp_path: Path) -> None:
    page = write(tmp_path, two_clips())
    for element, sound in zip(page.all("audio"), [*two_clips()[0].sounds] * 2, strict=True):
        audio, rate_hz = soundfile.read(tmp_path / str(element["src"]), dtype="float32")
        assert rate_hz == sound.sample_rate_hz
        np.testing.assert_allclose(audio, sound.audio, atol=1 / 32768)


def test_pictures_are_valid_and_described(tmp_path: Path) -> None:
    page = write(tmp_path, two_clips())
    for element in page.all("img"):
        with Image.open(tmp_path / str(element["src"])) as image:
            assert image.format == "PNG"
            assert [str(side) for side in image.size] == [element["width"], element["height"]]
            image.load()
        assert str(element["alt"]).startswith("Spectrogram of clip")
    assert all(element["aria-label"] for element in page.all("audio"))


def test_hostile_names_are_text_and_never_paths(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", two_clips())
    page = write(tmp_path / "hostile", two_clips(HOSTILE), title=HOSTILE)
    shape = [(tag, sorted(attributes)) for tag, attributes in page.elements if tag != "wbr"]
    assert shape == [(tag, sorted(found)) for tag, found in plain.elements if tag != "wbr"]
    assert "<script>alert('x')</script>" in page.text
    written = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")]
    assert all("alert" not in path for path in written)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile", "plain"]


def test_loud_audio_is_clipped_not_wrapped(tmp_path: Path) -> None:
    sound = Sound(label="loud", audio=3 * tone(), sample_rate_hz=16000)
    page = write(tmp_path, [ListeningClip(name="clip", figures={}, sounds=[sound])])
    audio, _ = soundfile.read(tmp_path / str(page.all("audio")[0]["src"]), dtype="float32")
    np.testing.assert_allclose(audio, np.clip(sound.audio, -1, 1), atol=1 / 32768)


@pytest.mark.parametrize("sample_rate_hz", [16000, 44100])
@pytest.mark.parametrize("pitch_hz", [60.0, 440.0, 5000.0])
def test_a_tone_shows_at_its_pitch_and_level(sample_rate_hz: int, pitch_hz: float) -> None:
    audio = tone(sample_rate_hz=sample_rate_hz, pitch_hz=pitch_hz)
    levels = band_levels_db(audio, sample_rate_hz=sample_rate_hz)
    band = levels[:, levels.shape[1] // 2].argmax()
    position = np.log(pitch_hz / LOWEST_HZ) / np.log(HIGHEST_HZ / LOWEST_HZ)
    assert (band + 0.5) / len(levels) == pytest.approx(position, abs=0.01)
    # A band wider than the tone's line shows its mean, hence less for high notes.
    assert -20 < levels[band].max() < -5.9
    far = levels[(band + len(levels) // 2) % len(levels), levels.shape[1] // 2]
    assert far < levels[band].max() - 60


def test_silence_and_a_single_sample_can_be_drawn() -> None:
    for audio in (np.zeros(1, np.float32), np.zeros(16000, np.float32)):
        with Image.open(BytesIO(spectrogram_png(audio, sample_rate_hz=16000))) as image:
            assert image.getextrema() == (0, 0)
    assert QUIETEST_DB < LOUDEST_DB


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"audio": np.zeros((2, 5), np.float32)}, "audio must be"),
        ({"audio": np.zeros(0, np.float32)}, "audio must be"),
        ({"audio": np.full(5, np.nan, np.float32)}, "finite"),
        ({"sample_rate_hz": 0}, "sample_rate_hz must be positive"),
    ],
)
def test_wrong_sound(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sound(**{"label": "x", "audio": tone(), "sample_rate_hz": 16000, **fields})


def test_nothing_to_hear(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sounds must hold at least one"):
        ListeningClip(name="clip", figures={}, sounds=[])
    with pytest.raises(ValueError, match="clips must hold at least one"):
        write(tmp_path, [])
    assert not list(tmp_path.iterdir())
