"""Reads a Dockerfile, as far as ours needs it."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Instruction:
    """An instruction: its keyword, its flags such as "from" or "mount", and the rest as text."""

    keyword: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        return self.text.split()


def read_dockerfile(path: Path = ROOT / "Dockerfile") -> list[Instruction]:
    """Returns the instructions in their order, comments left out and continued lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [_instruction(line) for line in joined.splitlines() if line.strip()]


def _instruction(line: str) -> Instruction:
    keyword, _, rest = line.strip().partition(" ")
    flags = {}
    while match := re.match(r"\s*--([a-z]+)=(\S+)\s+", rest):
        flags[match[1]] = match[2]
        rest = rest[match.end() :]
    return Instruction(keyword, flags, rest.strip())


def arguments(instructions: list[Instruction]) -> dict[str, str]:
    """Returns the build arguments with their defaults."""
    found = {}
    for one in instructions:
        if one.keyword == "ARG":
            name, _, value = one.text.partition("=")
            found[name] = value.strip('"')
    return found


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    """Returns the instructions of the stage that becomes the image."""
    start = max(number for number, one in enumerate(instructions) if one.keyword == "FROM")
    return instructions[start:]


def environment(instructions: list[Instruction]) -> dict[str, str]:
    """Returns the variables that a stage sets."""
    pairs = (word for one in instructions if one.keyword == "ENV" for word in one.words)
    return dict(pair.split("=", 1) for pair in pairs)
