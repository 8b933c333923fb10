"""Datasets that several tests read and none changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.code_dataset import write_dataset
from tests.support.trained import write_trainable


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a dataset of 2000 small records in 3 uneven shards, 10 row groups."""
    folder = tmp_path_factory.mktemp("small")
    write_dataset(folder, clips=2000, shards=3)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a dataset of 48 clips to train on and 16 to validate on."""
    return write_trainable(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models are so small here that more threads only wait for each other."""
    import torch  # here, so that the process that starts the others does not load it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
