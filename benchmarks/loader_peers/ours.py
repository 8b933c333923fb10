"""The singsong loader, whose workers are threads."""

from pathlib import Path
from typing import Any

from benchmarks.loader_peers.pairs import BATCH_SIZE
from singsong.training.featurization import Featurization
from singsong.training.loader import LoaderConfig, ShardDataset


def convert(dataset: Path, output: Path) -> None:
    (output / "dataset").symlink_to(dataset)


def batches(data: Path, *, workers: int) -> Any:
    config = LoaderConfig(batch_size=BATCH_SIZE, epochs=1, threads=workers)
    return ShardDataset(str(data / "dataset"), Featurization(), config)


def state(data: Path, *, samples: int) -> Any:
    return batches(data, workers=0).state_dict(steps=samples // BATCH_SIZE)


def resumed(data: Path, saved: Any) -> Any:
    dataset = batches(data, workers=0)
    dataset.load_state_dict(saved)
    return dataset
