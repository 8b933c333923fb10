"""Text that is safe to print."""

from __future__ import annotations

import unicodedata

_JOINERS = "\u200c\u200d"
"""Characters without a shape of their own that names of some languages, and emoji, need."""


def printable(text: str) -> str:
    r"""Returns text on one line, with all that would steer a terminal as escapes.

    Names of files may hold line breaks, escape sequences, characters that turn the direction of
    writing, and bytes that are not UTF-8. Tables and JSON keep the true name; a terminal gets this.

    >>> printable("caf\u00e9.wav"), printable("a\nb\x1b[2J\udcff.wav")
    ('café.wav', 'a\\nb\\x1b[2J\\udcff.wav')
    """
    return "".join(
        char if _is_harmless(char) else char.encode("unicode_escape").decode() for char in text
    )


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char in _JOINERS or unicodedata.category(char) == "Zs"
