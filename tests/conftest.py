"""Options of the test run, and what more than one folder of tests needs."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.support.object_stores import STORES, Store

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


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mixes of three generated songs of eight seconds."""
    from tests.support.tiny_dataset import make_songs

    return make_songs(tmp_path_factory.mktemp("tiny") / "songs")


@pytest.fixture(scope="session")
def tiny_dataset(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of these songs, which must not be written to."""
    from tests.support.tiny_dataset import make_dataset

    return make_dataset(songs, tmp_path_factory.mktemp("tiny") / "dataset")
