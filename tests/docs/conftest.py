from pathlib import Path

import pytest

from tests.support.tiny_dataset import make_dataset, make_songs


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    return make_dataset(make_songs(folder / "songs"), folder / "dataset")
