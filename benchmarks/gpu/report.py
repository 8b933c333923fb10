"""Writes Markdown line by line, so that what was measured is kept if the process ends early."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Report:
    """A file of Markdown; each line is also written to stderr, as progress.

    Attributes:
        failed: Whether something could not be measured.
    """

    def __init__(self, path: Path) -> None:
        self.failed = False
        self._path, self._in_table = path, False

    def line(self, text: str = "") -> None:
        """Adds a line, which ends a table."""
        self._in_table = False
        with self._path.open("a") as file:
            file.write(f"{text}\n")
        print(text, file=sys.stderr, flush=True)

    def table(self, *header: str) -> None:
        """Begins a table, whose rows come next."""
        self.line()
        self.row(*header)
        self.row(*["---"] * len(header))

    def row(self, *cells: str) -> None:
        """Adds a row to the table."""
        self.line(f"| {' | '.join(cells)} |")
        self._in_table = True

    def error(self, text: str) -> None:
        """Adds what could not be measured, and why; inside a table as a row, which continues it."""
        self.failed = True
        if self._in_table:
            self.row(f"**{text.replace('|', '/')}**")
        else:
            self.line(f"\n**{text}**")

    @contextmanager
    def keep_going(self, what: str) -> Iterator[None]:
        """Reports what fails inside the `with` block instead of raising it."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a GPU may be lent for minutes: measure the rest
            traceback.print_exc()
            first = (str(error).strip() or "no message").splitlines()[0]
            self.error(f"{what} failed: {type(error).__name__}: {first}")
