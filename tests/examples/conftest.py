from pathlib import Path

import pytest

from tests.support.tiny_dataset import make_dataset, make_songs


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_songs(tmp_path_factory.mktemp("examples") / "songs")


@pytest.fixture(scope="session")
def tiny_dataset(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(songs, tmp_path_factory.mktemp("examples") / "dataset")
