"""The built wheel in environments of its own, made from what is installed here: no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.support.command import ROOT

_NOT_SOURCE = (".*", "build", "demo", "dist", "*.egg-info", "__pycache__", "node_modules", "site")
_SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


def build_wheel(folder: Path) -> Path:
    """Builds the wheel from a copy of the source, so that nothing is written beside it."""
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*_NOT_SOURCE), symlinks=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    flags = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*command, *flags, str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment that holds the wheel and some of the libraries installed here.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.python = folder / "bin" / "python"
        self.site = folder / _SITE

    @classmethod
    def create(cls, folder: Path, wheel: Path, *, extras: Iterable[str] | None) -> Environment:
        """Makes an environment.

        Args:
            folder: Where to make it.
            wheel: The wheel of this package.
            extras: Whose libraries it holds besides those of the bare package; None means all that
                is installed here.
        """
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        made = cls(folder)
        pip = [sys.executable, "-m", "pip", "--python", str(made.python), "install", "--quiet"]
        flags = ["--no-deps", "--no-index", "--disable-pip-version-check"]
        subprocess.run([*pip, *flags, str(wheel)], check=True, env=_clean_environment())
        (metadata,) = made.site.glob("singsong-*.dist-info")
        wanted = Distribution.at(metadata).requires or []
        link_distributions(made.site, None if extras is None else closure(wanted, extras))
        return made

    def install(self, package: Path) -> None:
        """Installs a package from its source, and from the index what it needs and is not here.

        The versions that are here are fixed: another one would be put over the linked files.
        """
        fixed = self.python.parent.parent / "constraints.txt"
        lines = [f"{name}=={one.version}\n" for name, one in _installed().items()]
        fixed.write_text("".join(lines))
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--quiet"]
        flags = ["--disable-pip-version-check", "--constraint", str(fixed)]
        subprocess.run([*pip, *flags, str(package)], check=True, env=_clean_environment())

    def run(self, *arguments: str, cwd: Path, code: int = 0) -> str:
        """Runs its Python in a folder, checks the exit code and returns what it printed."""
        ran = subprocess.run(
            [str(self.python), *arguments],
            cwd=cwd,
            env=_clean_environment(),
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr


def _clean_environment() -> dict[str, str]:
    """Returns the variables without those that would let the source in."""
    hidden = ("PYTHONPATH", "PYTHONHOME")
    return {key: value for key, value in os.environ.items() if key not in hidden}


@cache
def _installed() -> dict[str, Distribution]:
    found = {}
    for one in distributions():
        name = canonicalize_name(one.metadata["Name"])
        if name not in ("singsong", "singsong-toy"):
            found.setdefault(name, one)
    return found


def closure(requirements: Iterable[str], extras: Iterable[str]) -> set[str]:
    """Returns the names of the distributions that requirements with these extras bring."""
    found: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(text, extra) for text in requirements for extra in ("", *extras)]
    while waiting:
        text, extra = waiting.pop()
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                found.add(name)
                waiting += [(below, wanted) for below in _installed()[name].requires or []]
    return found


def link_distributions(site: Path, names: set[str] | None) -> None:
    """Links the files of distributions into a folder: whole folders where nobody else is in them.

    Args:
        site: The `site-packages` to fill.
        names: Which; None means all.
    """
    owners: dict[tuple[str, ...], set[str]] = {}
    for name, one in _installed().items():
        for path in _paths(one):
            for depth in range(1, len(path) + 1):
                owners.setdefault(path[:depth], set()).add(name)
    chosen = set(_installed()) if names is None else names
    for name in chosen & set(_installed()):
        base = Path(str(_installed()[name].locate_file("")))
        for path in _paths(_installed()[name]):
            for depth in range(1, len(path) + 1):
                target = site.joinpath(*path[:depth])
                if target.is_symlink():
                    break
                if depth == len(path) or owners[path[:depth]] <= chosen:
                    target.symlink_to(base.joinpath(*path[:depth]))
                    break
                target.mkdir(exist_ok=True)


def _paths(one: Distribution) -> Iterator[tuple[str, ...]]:
    for file in one.files or ():
        if file.parts[0] not in ("..", "__pycache__") and file.suffix != ".pth":
            yield file.parts
