"""Hugging Face `datasets` in streaming mode, over our Parquet shards."""

from pathlib import Path
from typing import Any

import datasets
import torch

from benchmarks.loader_peers.pairs import BATCH_SIZE, CODES, pair


def convert(dataset: Path, output: Path) -> None:
    (output / "shards").symlink_to(dataset / "shards")


def _pairs(batch: dict[str, Any]) -> dict[str, Any]:
    rows = [pair(dict(zip(batch, row, strict=True))) for row in zip(*batch.values(), strict=True)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _dataset(data: Path) -> Any:
    files = sorted(map(str, (data / "shards").glob("*.parquet")))
    whole = datasets.load_dataset(
        "parquet", data_files=files, split="train", streaming=True, columns=list(CODES)
    )
    return (
        whole.with_format("numpy")
        .shuffle(seed=0, buffer_size=1000)
        .map(_pairs, batched=True, batch_size=BATCH_SIZE, remove_columns=list(CODES))
        .with_format("torch")
    )


def _loader(dataset: Any, workers: int) -> Any:
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=workers)


def batches(data: Path, *, workers: int) -> Any:
    return _loader(_dataset(data), workers)


def state(data: Path, *, samples: int) -> Any:
    dataset = _dataset(data)
    iterator = iter(_loader(dataset, 0))
    for _ in range(samples // BATCH_SIZE):
        next(iterator)
    return dataset.state_dict()


def resumed(data: Path, saved: Any) -> Any:
    dataset = _dataset(data)
    dataset.load_state_dict(saved)
    return _loader(dataset, 0)
