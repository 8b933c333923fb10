"""A fixed sample of the changes that cosmic-ray can make to a file."""

from __future__ import annotations

import ast
import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import ndiff
from pathlib import Path
from typing import Any

from tests.mutants.listings import Mutant

CONFIG = "tests/mutants/sampled/files.toml"
_SEED = "singsong"
_LEFT_OUT = re.compile(
    r"core/ExceptionReplacer"  # fails at `except (a.B, C)`
    r"|.*BinaryOperator_\w+_(BitAnd|BitOr|BitXor|LShift|RShift)"  # of floats: a mere TypeError
)


@dataclass(frozen=True, kw_only=True)
class Survivor:
    """A change that no test notices, and may not.

    Attributes:
        old: The line as it is, without the spaces around it.
        new: The changed line.
        reason: Why no test needs to notice.
    """

    old: str
    new: str
    reason: str

    @property
    def name(self) -> str:
        """The name of the mutant."""
        return change_name(self.old, self.new)


@dataclass(frozen=True, kw_only=True)
class SampledFile:
    """A file to change.

    Attributes:
        path: From the root of the repository.
        tests: Paths or ids of the tests that should notice.
        survivors: The changes that they need not notice.
    """

    path: str
    tests: tuple[str, ...]
    survivors: tuple[Survivor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What is changed.

    Attributes:
        changes_per_file: How many changes are made to each file, at most.
        min_killed: The part of all changes that tests must notice.
        files: The files.
    """

    changes_per_file: int
    min_killed: float
    files: tuple[SampledFile, ...]


def read_config(root: Path) -> SampleConfig:
    """Returns what `files.toml` says.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not TOML.
        TypeError: A key is missing or unknown.
    """
    values = tomllib.loads((root / CONFIG).read_text(encoding="utf-8"))
    files = tuple(_file_from(table) for table in values.pop("file"))
    return SampleConfig(files=files, **values)


def _file_from(table: Mapping[str, Any]) -> SampledFile:
    survivors = tuple(Survivor(**survivor) for survivor in table.get("survivor", ()))
    return SampledFile(path=table["path"], tests=tuple(table["tests"]), survivors=survivors)


def sample(file: SampledFile, *, root: Path, count: int) -> list[Mutant]:
    """Returns the changes to make to a file, in the order of its lines.

    One change is taken of each place, and of these so many whose hash comes first: the sample
    stays nearly the same when other lines of the file change, or when the file moves.
    """
    source = (root / file.path).read_text(encoding="utf-8")
    places: dict[tuple[str, int], str] = {}
    for family, occurrence, mutated in _changes(source):
        best = places.setdefault((family, occurrence), mutated)
        places[family, occurrence] = min(best, mutated, key=lambda text: _rank(source, text))
    chosen = sorted(set(places.values()), key=lambda text: _rank(source, text))
    named = {change_name(*_changed_lines(source, text)): text for text in reversed(chosen)}
    kept = [text for text in chosen if text in set(named.values())][:count]
    kept.sort(key=lambda text: _first_difference(source, text))
    return [
        Mutant(
            name=change_name(*_changed_lines(source, text)),
            file=file.path,
            old=source,
            new=text,
            tests=file.tests,
            listing="sampled",
        )
        for text in kept
    ]


def change_name(old: str, new: str) -> str:
    """Returns how a change is printed.

    >>> change_name("return 1", "return 2")
    'return 1  ->  return 2'
    """
    return f"{old}  ->  {new}"


def _changes(source: str) -> Iterator[tuple[str, int, str]]:
    """Yields family of operators, number of the place and changed source of each real change."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(source)))
    meaning = _meaning(source)
    for name in operator_names():
        operator = get_operator(name)
        if _LEFT_OUT.fullmatch(name) or operator.arguments():
            continue
        places = sum(1 for node in nodes for _ in operator().mutation_positions(node))
        for occurrence in range(places):
            mutated = mutate_code(source, operator(), occurrence)
            if mutated is not None and _meaning(mutated) not in (None, meaning):
                yield name.rpartition("_")[0] or name, occurrence, mutated


def _meaning(source: str) -> str | None:
    """Returns the syntax tree without annotations and kinds of arguments; None if there is none."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arguments):  # the `*` before keywords is not a multiplication
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.defaults += [value for value in node.kw_defaults if value is not None]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
    return ast.dump(tree)


def _changed_lines(source: str, mutated: str) -> tuple[str, str]:
    lines = list(ndiff(source.splitlines(), mutated.splitlines()))
    old = " ".join(line[2:].strip() for line in lines if line.startswith("- "))
    new = " ".join(line[2:].strip() for line in lines if line.startswith("+ "))
    return old, new


def _first_difference(source: str, mutated: str) -> int:
    pairs = enumerate(zip(source, mutated, strict=False))
    return next((at for at, (old, new) in pairs if old != new), len(source))


def _rank(source: str, mutated: str) -> tuple[str, str]:
    """Returns what to sort by: the hash of the change, then its place if a line comes twice."""
    name = change_name(*_changed_lines(source, mutated))
    return hashlib.sha256(f"{_SEED} {name}".encode()).hexdigest(), mutated
