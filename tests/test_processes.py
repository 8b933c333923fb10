"""The tests themselves: what several processes share is made once, and long files start first."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from benchmarks.support.command import ROOT
from tests.conftest import LONGEST
from tests.support.made_once import MadeOnce


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    """Threads stand for processes here: the lock is a file that each opens by itself."""
    callers = 4
    together = Barrier(callers)

    def make(folder: Path) -> None:
        folder.mkdir()  # fails if another caller is making it
        time.sleep(0.1)
        (folder / "file").touch(exist_ok=False)

    def ask(_: int) -> bool:
        together.wait()
        return (MadeOnce(tmp_path).folder("name", make) / "file").exists()

    with ThreadPoolExecutor(callers) as pool:
        assert list(pool.map(ask, range(callers))) == [True] * callers


def test_what_failed_is_made_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise OSError("the disk is full")

    made_once = MadeOnce(tmp_path / "place")
    for _ in range(2):
        with pytest.raises(OSError, match="the disk is full"):
            made_once.folder("name", fail)
    assert not list(made_once.folder("name", Path.mkdir).iterdir())


def test_the_longest_files_are_there() -> None:
    assert len(set(LONGEST)) == len(LONGEST)
    assert not [name for name in LONGEST if not (ROOT / name).is_file()]
