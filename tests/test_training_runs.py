"""The datasets that the studies of training change, and the model without context to beat."""

import math
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from benchmarks.support.code_dataset import read_records
from benchmarks.training_runs import changed_dataset, unigram_nats, with_shuffled_vocals
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import read_manifest
from singsong.training.featurization import Featurization
from singsong.training.featurizer import featurizer_of
from singsong.training.loader import LoaderConfig, ShardDataset
from tests.support.trained import write_trainable

VIEW = Featurization(name="S-SA", noisy=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trainable(tmp_path_factory.mktemp("data"))


def held_out(folder: Path) -> list[str]:
    return [entry.sha256 for entry in read_manifest(str(folder)).shards if entry.split != "train"]


def test_shuffled_vocals_are_those_of_other_clips_and_nothing_else_changes(
    data: Path, tmp_path: Path
) -> None:
    change = partial(with_shuffled_vocals, seed=0)
    shuffled = changed_dataset(data, tmp_path / "shuffled", change)
    assert held_out(shuffled) == held_out(data)
    before, after = (
        {row["clip_id"]: row for row in read_records(folder).to_pylist() if row["split"] == "train"}
        for folder in (data, shuffled)
    )
    assert before.keys() == after.keys()
    vocals = [name for name in next(iter(before.values())) if name.startswith("vocals_")]
    assert len(vocals) == 10
    moved = [before[clip] != after[clip] for clip in before]
    assert sum(moved) > len(moved) / 2
    assert sorted(_only(row, vocals) for row in before.values()) == sorted(
        _only(row, vocals) for row in after.values()
    )
    for clip, row in before.items():
        assert {name: row[name] for name in row if name not in vocals} == {
            name: value for name, value in after[clip].items() if name not in vocals
        }


def test_unigrams_are_counted_by_hand(data: Path) -> None:
    batches = {}
    for split in ("train", "validation"):
        reading = LoaderConfig(batch_size=64, split=split, shuffle=False, epochs=1)
        batches[split] = next(iter(ShardDataset(str(data), VIEW, reading)))["target_tokens"]
    featurizer = featurizer_of(VIEW, open_dataset(str(data)))
    sequence, semantic_length = featurizer.target_tokens, 5
    kinds = [tuple(pair) for pair in sequence.ranges.tolist()]
    seen = {kind: Counter(range(*kind)) for kind in kinds}
    for row in batches["train"].tolist():
        for kind, token in zip(kinds, row, strict=True):
            seen[kind][token] += 1
    nats = [
        [
            math.log(seen[kind].total() / seen[kind][token])
            for kind, token in zip(kinds, row, strict=True)
        ]
        for row in batches["validation"].tolist()
    ]
    found = unigram_nats(data, VIEW)
    semantic = [row[:semantic_length] for row in nats]
    coarse = [row[semantic_length:] for row in nats]
    assert found["loss"] == pytest.approx(sum(map(sum, nats)) / sum(map(len, nats)))
    assert found["semantic"] == pytest.approx(sum(map(sum, semantic)) / sum(map(len, semantic)))
    assert found["nll"] == pytest.approx(sum(map(sum, coarse)) / sum(map(len, coarse)))


def _only(row: dict[str, object], names: list[str]) -> str:
    return str([row[name] for name in names])
