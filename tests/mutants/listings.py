"""The deliberate bugs that the tests must notice, as they are listed in this folder.

A listing is a TOML file of tables such as

    [[mutant]]
    name = "dropout is the same in every step"
    file = "training/train.py"
    old = '''key = f"step {self.step} process {processes.rank}"'''
    new = '''key = f"process {processes.rank}"'''
    tests = ["tests/training/test_train.py::test_dropout_changes_with_the_step"]
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "tests/mutants"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One bug.

    Attributes:
        name: What is wrong, in words.
        file: Path of the source file, from the root of the repository.
        old: Text that occurs in it exactly once.
        new: What the bug puts there.
        tests: Paths or ids of the tests that should fail, as pytest takes them.
        listing: Name of the file that lists the bug.

    Raises:
        ValueError: The bug changes nothing, or no test should notice it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    listing: str

    def __post_init__(self) -> None:
        if self.old == self.new:
            raise ValueError(f"new must differ from old, found the same text in {self}")
        if not self.tests:
            raise ValueError(f"tests must name at least one test, found none in {self}")

    def __str__(self) -> str:
        return f"{self.listing}: {self.name} ({self.file})"

    def mutated(self, root: Path) -> str:
        """Returns the source file with the bug in it.

        Raises:
            ValueError: There is no such file, `old` does not occur exactly once, or the result is
                not Python.
        """
        path = root / self.file
        if not path.is_file():
            raise ValueError(f"file must exist, found no {self.file}")
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"old must occur once in {self.file}, found it {count} times")
        mutated = text.replace(self.old, self.new)
        try:
            ast.parse(mutated)
        except SyntaxError as error:
            raise ValueError(f"new must leave {self.file} valid Python, found {error}") from None
        return mutated

    def missing_tests(self, root: Path) -> list[str]:
        """Returns the tests that do not exist, by the text of their files."""
        return [test for test in self.tests if not _exists(root, test)]


def read_listings(folder: Path) -> list[Mutant]:
    """Returns the bugs of all listings in a folder, in the order of their names.

    Raises:
        ValueError: A listing is not TOML, or lacks or adds a key; or two bugs have one name.
    """
    mutants = []
    for path in sorted(folder.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
            mutants += [_from_table(table, listing=path.name) for table in tables]
        except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path} must be a listing of mutants, found: {error!r}") from error
    _check_names(mutants)
    return mutants


def _from_table(table: dict[str, object], *, listing: str) -> Mutant:
    return Mutant(**{**table, "tests": tuple(table["tests"])}, listing=listing)  # type: ignore[arg-type]


def _check_names(mutants: Sequence[Mutant]) -> None:
    names = [mutant.name for mutant in mutants]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names of mutants must be unique, found twice: {repeated}")


def _exists(root: Path, test: str) -> bool:
    path, *inside = test.split("::")
    if not (root / path).exists():
        return False
    if not inside:
        return True
    names = [node.partition("[")[0] for node in inside]
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    defined = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    return set(names) <= defined
