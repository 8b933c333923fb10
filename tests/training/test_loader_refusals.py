"""What the loader refuses: states, settings and datasets."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.code_dataset import ONE_SECOND, recommitted, write_dataset
from singsong.dataset.manifest import DatasetError
from singsong.training.featurization import Featurization
from singsong.training.loader import LoaderConfig, ShardDataset


def dataset_of(folder: Path, **settings: Any) -> ShardDataset:
    return ShardDataset(
        str(folder), Featurization(), LoaderConfig(**{"batch_size": 100, **settings})
    )


def test_a_state_of_another_order_is_refused(small: Path) -> None:
    state = dataset_of(small).state_dict()
    with pytest.raises(ValueError, match="seed was 0 and is 1"):
        dataset_of(small, seed=1).load_state_dict(state)
    with pytest.raises(ValueError, match="dataset_digest was 'another'"):
        dataset_of(small).load_state_dict({**state, "dataset_digest": "another"})


def test_a_length_needs_an_end(small: Path) -> None:
    with pytest.raises(TypeError, match="epochs"):
        len(dataset_of(small))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("buffer_groups", 0),
        ("ranks", 0),
        ("rank", 1),
        ("rank", -1),
        ("epochs", 0),
        ("threads", -1),
    ],
)
def test_a_setting_outside_its_range(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{field} must"):
        LoaderConfig(**{"batch_size": 1, field: value})


def test_splits_that_cannot_be_read(small: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\['test', 'train'\], not 'dev'"):
        dataset_of(small, split="dev")
    with pytest.raises(DatasetError, match="test holds no records"):
        dataset_of(small, split="test")
    write_dataset(tmp_path, clips=10, shards=1, recipe=ONE_SECOND, formats=("tfrecord",))
    with pytest.raises(DatasetError, match="no Parquet shards"):
        dataset_of(tmp_path)


def test_no_dataset_and_one_of_another_schema(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        dataset_of(tmp_path)
    write_dataset(tmp_path, clips=10, shards=1)
    recommitted(tmp_path, schema_version=0)
    with pytest.raises(DatasetError, match="schema version 0"):
        dataset_of(tmp_path)
