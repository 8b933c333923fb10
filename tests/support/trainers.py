"""A trainer whose steps a test makes one by one, and the records that it should read."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from singsong.dataset.manifest import read_manifest
from singsong.training.processes import Processes
from singsong.training.train import Trainer
from singsong.training.train_config import TrainConfig

ALONE = Processes(rank=0, count=1, device=torch.device("cpu"))


@contextmanager
def trainer_of(config: TrainConfig, *, resume: bool = False) -> Iterator[Trainer]:
    """Yields the trainer of one process, whose log is closed afterwards."""
    trainer = Trainer(config, ALONE, resume=resume, extra_metrics={})
    with closing(trainer.folder):
        yield trainer


def first_batches(data: Any, count: int) -> list[dict[str, torch.Tensor]]:
    """Returns the first batches of a dataset, and leaves no thread behind."""
    iterator = iter(data)
    with closing(iterator):
        return list(islice(iterator, count))


def records_of(folder: Path, split: str = "train") -> pa.Table:
    """Returns the records of a split in the order of its shards."""
    shards = [shard for shard in read_manifest(str(folder)).shards if shard.split == split]
    shards.sort(key=lambda shard: shard.shard)
    return pa.concat_tables(pq.read_table(folder / shard.path) for shard in shards)


def shard_rows_of(folder: Path, split: str = "train") -> list[int]:
    """Returns how many records each shard of a split holds."""
    shards = [shard for shard in read_manifest(str(folder)).shards if shard.split == split]
    return [shard.rows for shard in sorted(shards, key=lambda shard: shard.shard)]


def codes_of(records: pa.Table, field: str, rows: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the codes of some records, int64 [rows, *shape]."""
    values = records[field].take(pa.array(np.asarray(rows))).to_pylist()
    return np.array(values, np.int64).reshape(len(values), *shape)
