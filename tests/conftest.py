"""Options of the test run, and what more than one folder of tests needs."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.support.object_stores import STORES, Store
from tests.support.made_once import MadeOnce
from tests.support.tiny_dataset import make_dataset, make_songs

_FOLDERS = itertools.count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fuzz-files", type=int, default=300, help="how many mutated files the decoder gets"
    )
    parser.addoption(
        "--require-tools",
        action="store_true",
        help="let tests fail, and not skip, where Java, Maven or Go is missing",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files with most slow tests first, so that none keeps one process busy at the end."""
    slow = Counter(_file(item) for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> MadeOnce:
    """Makes folders that all processes of this run share."""
    folder = tmp_path_factory.getbasetemp()
    is_one_of_several = hasattr(request.config, "workerinput")  # set by pytest-xdist
    return MadeOnce((folder.parent if is_one_of_several else folder) / "made_once")


@pytest.fixture(scope="session")
def songs(made_once: MadeOnce) -> Path:
    """Returns a folder of three songs that tests only read."""
    return made_once.folder("songs", make_songs) / "mixes"


@pytest.fixture(scope="session")
def tiny_dataset(made_once: MadeOnce, songs: Path) -> Path:
    """Returns a dataset of these songs that tests only read."""
    return made_once.folder("tiny_dataset", lambda folder: make_dataset(songs, folder))


@pytest.fixture(scope="session")
def give_up(request: pytest.FixtureRequest) -> Callable[[str], NoReturn]:
    """What a test calls that lacks a tool: it is skipped, or with `--require-tools` it fails."""
    return pytest.fail if request.config.getoption("--require-tools") else pytest.skip


@pytest.fixture(scope="session", params=list(STORES))
def running_store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with STORES[request.param]() as store:
        yield store


@pytest.fixture
def store(running_store: Store) -> Iterator[Store]:
    """An object store on localhost, with an empty log of requests and without faults."""
    running_store.proxy.reset()
    yield running_store
    running_store.proxy.reset()


@pytest.fixture
def folder(store: Store) -> str:
    """The URL of an empty folder in the store."""
    return f"{store.url}/folder-{next(_FOLDERS)}"
