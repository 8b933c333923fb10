"""The pages of the documentation, and what of them can be run."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A command or a block of code in a page."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _found(pattern: str) -> list[Snippet]:
    found = []
    for path in PAGES:
        text = path.read_text()
        for match in re.finditer(pattern, text, re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            name = path.relative_to(ROOT).as_posix()
            found.append(Snippet(page=name, line=line, text=match[1]))
    return found


def commands() -> list[Snippet]:
    """Returns each command after a prompt, its continued lines joined."""
    return [
        Snippet(page=one.page, line=one.line, text=one.text.replace("\\\n", " "))
        for one in _found(r"^\$ ((?:.+\\\n)*.+)$")
    ]


def python_blocks() -> list[Snippet]:
    """Returns the blocks of Python that are to be run; `notest` after the language exempts one."""
    return _found(r"^```python\n((?:.*\n)*?)```$")
