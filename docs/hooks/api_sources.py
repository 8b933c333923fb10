"""Puts the package where mkdocstrings finds it: the repository is the package `singsong`, under any name.

A copy of the rooms, and not a link to the repository: the collector would walk through `.venv`.
"""

import shutil
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_NOT_INSTALLED = {"tests", "benchmarks"}


def on_startup(**_: object) -> None:
    """Copies the Python files of the package to `build/api/singsong`."""
    copy_package(_ROOT / "build" / "api" / "singsong")


def copy_package(target: Path) -> None:
    """Copies the package to a folder; what the folder held is lost."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted(_ROOT.glob("*.py")):
        if path.name != "setup.py":
            shutil.copyfile(path, target / path.name)
    for init in sorted(_ROOT.glob("*/__init__.py")):
        room = init.parent
        if room.name not in _NOT_INSTALLED:
            shutil.copytree(
                room, target / room.name, ignore=lambda _, names: _all_but_python(room, names)
            )


def _all_but_python(room: Path, names: list[str]) -> set[str]:
    kept = {path.name for path in room.rglob("*.py")} | {
        path.name for path in room.rglob("*") if path.is_dir() and path.name != "__pycache__"
    }
    return set(names) - kept
