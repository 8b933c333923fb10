"""Puts the package where mkdocstrings finds it, whatever the folder of the repository is called.

A copy of the rooms, and not a link to the repository: the collector would walk through `.venv`.
"""

import shutil
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_NOT_INSTALLED = {"tests", "benchmarks", "examples"}


def on_startup(**_: object) -> None:
    """Copies the Python files of the package to `build/api/singsong`."""
    copy_package(_ROOT / "build" / "api" / "singsong")


def copy_package(target: Path) -> None:
    """Copies the package to a folder; what the folder held is lost."""
    shutil.rmtree(target, ignore_errors=True)
    rooms = [init.parent for init in _ROOT.glob("*/__init__.py")]
    modules = [path for path in _ROOT.glob("*.py") if path.name != "setup.py"]
    for room in rooms:
        if room.name not in _NOT_INSTALLED:
            modules += room.rglob("*.py")
    for path in modules:
        copy = target / path.relative_to(_ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
