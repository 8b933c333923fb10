import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from singsong.schemas.errors import add_file
from singsong.schemas.text import printable


@pytest.mark.parametrize(
    "name",
    [
        *("Caf\u00e9 del Mar.wav", "\u6771\u4eac\u3000\u4e8b\u5909.flac", "\u05e2\u05d1.mp3"),
        *("\u0645\u06cc\u200c\u062e.ogg", "\U0001f469\u200d\U0001f3a4.wav", "a b.wav", "na\\x"),
    ],
)
def test_names_in_all_languages_stay_as_they_are(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\tb\rc", r"a\tb\rc"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x9b31m", r"\x9b31m"),
        ("\x7f\x00", r"\x7f\x00"),
        ("a\u202egnp.wav", r"a\u202egnp.wav"),
        ("a\u2028b\u2066c", r"a\u2028b\u2066c"),
        ("caf\udce9.wav", r"caf\udce9.wav"),
    ],
)
def test_what_would_steer_a_terminal_is_shown(name: str, shown: str) -> None:
    assert printable(name) == shown


@given(st.text(alphabet=st.characters()))
def test_a_line_is_a_line_and_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert not [char for char in shown if unicodedata.category(char) == "Cc"]
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "MemoryError, while working on /a\\nb"),
        (RuntimeError("one\ntwo"), "one, while working on /a\\nb\ntwo"),
        (OSError(28, "full"), "[Errno 28] full, while working on /a\\nb"),
    ],
)
def test_an_error_names_the_file_in_its_first_line(error: Exception, text: str) -> None:
    add_file(error, "/a\nb")
    assert str(error) == text
