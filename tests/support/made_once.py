"""Material that is slow to make and that tests only read: made by one process, used by all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock


class MadeOnce:
    """A place for folders that several processes share.

    Args:
        place: The same in each process of a test run, and of no other run.
    """

    def __init__(self, place: Path) -> None:
        self._place = place

    def folder(self, name: str, make: Callable[[Path], object]) -> Path:
        """Returns a folder, after making it if no process has.

        The folder is made where it stays: environments and manifests hold absolute paths.

        Args:
            name: Of the folder; tests that want another content take another name.
            make: Is called with the path of the folder, which does not exist yet. If it raises, the
                next call starts again.
        """
        self._place.mkdir(parents=True, exist_ok=True)
        folder, done = self._place / name, self._place / f"{name}.done"
        with FileLock(self._place / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder
