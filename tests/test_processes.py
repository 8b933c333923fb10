"""The tests themselves: what several processes share is made once, and long files start first."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from tests.conftest import pytest_collection_modifyitems
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


@dataclass(frozen=True)
class Item:
    nodeid: str
    slow: bool = False

    def get_closest_marker(self, name: str) -> bool:
        return name == "slow" and self.slow


def test_files_with_most_slow_tests_start_first() -> None:
    fast, few = Item("a.py::test_a"), Item("b.py::test_b", slow=True)
    many = [Item("c.py::test_a"), *(Item(f"c.py::test_b[{n}]", slow=True) for n in range(2))]
    items: list[Any] = [fast, few, *many]
    pytest_collection_modifyitems(items)
    assert items == [*many, few, fast]
