"""Shared by the training studies: changed datasets, parallel runs and a unigram baseline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from singsong.commands import cli
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import ShardEntry, commit_manifest, read_manifest
from singsong.schemas.records import ROWS_PER_GROUP
from singsong.storage import sha256_of
from singsong.training.featurization import Featurization
from singsong.training.featurizer import featurizer_of
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.train_config import TrainConfig

TRAIN, VALIDATION = "train", "validation"


def singsong(*arguments: object) -> None:
    """Runs a `singsong` command, and exits if it fails."""
    words = [str(argument) for argument in arguments]
    print("$ singsong " + " ".join(words), file=sys.stderr, flush=True)
    if code := cli.main(words):
        sys.exit(code)


def changed_dataset(source: Path, output: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Writes a copy of a dataset with changed training records.

    Args:
        source: Folder of a dataset with Parquet shards.
        output: Folder of the copy.
        change: Returns the new records of the split `train`, given all its records.
    """
    manifest = read_manifest(str(source))
    shards = [shard for shard in manifest.shards if shard.format == "parquet"]
    (output / "shards").mkdir(parents=True, exist_ok=True)
    tables = [pq.read_table(source / shard.path) for shard in shards if shard.split == TRAIN]
    changed = change(pa.concat_tables(tables))
    path = "shards/train-00000-of-00001.parquet"
    pq.write_table(changed, output / path, row_group_size=ROWS_PER_GROUP, write_page_checksum=True)
    sha256, size = sha256_of(str(output / path))
    entries = [
        ShardEntry(
            path=path,
            rows=changed.num_rows,
            bytes=size,
            sha256=sha256,
            split=TRAIN,
            shard=0,
            format="parquet",
        )
    ]
    for shard in shards:
        if shard.split != TRAIN:
            shutil.copyfile(source / shard.path, output / shard.path)
            entries.append(shard)
    train = replace(manifest.splits[TRAIN], clips=changed.num_rows)
    splits = {**manifest.splits, TRAIN: train}
    commit_manifest(str(output), replace(manifest, shards=tuple(entries), splits=splits, tables=()))
    return output


def with_shuffled_vocals(table: pa.Table, *, seed: int) -> pa.Table:
    """Returns the records with permuted vocals, which no longer match the instrumentals."""
    order = np.random.default_rng(seed).permutation(table.num_rows)
    vocals = [name for name in table.column_names if name.startswith("vocals_")]
    for name in vocals:
        column = table.column(name).take(pa.array(order))
        table = table.set_column(table.column_names.index(name), table.field(name), column)
    return table


def train_all(runs: Mapping[Path, Sequence[object]], *, at_once: int) -> None:
    """Trains accompaniment models in parallel, each on one thread.

    Args:
        runs: The flags of each run, by its folder; an existing run is resumed.
        at_once: Number of runs in parallel.
    """

    def train(output: Path) -> None:
        flags = [str(flag) for flag in (*runs[output], "--output", output, "--resume")]
        print("$ singsong train accompaniment " + " ".join(flags), file=sys.stderr, flush=True)
        subprocess.run(
            [sys.executable, "-m", "singsong", "train", "accompaniment", *flags],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=sys.stderr,
        )

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(train, runs))


def unigram_nats(dataset: Path, view: Featurization) -> dict[str, float]:
    """Returns the nats per token of the best model without context.

    The model is the frequency of each code in the training records: one distribution for semantic
    codes and one for each level of coarse codes, with add-one smoothing.

    Returns:
        The cross-entropy of the held-out records by the trainer's metric names: `loss` for all
        targets, `nll` for the coarse ones, `semantic` for the others.
    """
    train, held_out = (_targets(dataset, view, split) for split in (TRAIN, VALIDATION))
    featurizer = featurizer_of(view, open_dataset(str(dataset)))
    sequence = featurizer.target_tokens
    nats = np.empty(held_out.shape)
    for first, last in {tuple(pair) for pair in sequence.ranges.tolist()}:
        here = np.all(sequence.ranges == (first, last), axis=1)
        counts = 1 + np.bincount(train[:, here].ravel() - first, minlength=last - first)
        nats[:, here] = -np.log(counts / counts.sum())[held_out[:, here] - first]
    is_coarse = sequence.ranges[:, 0] >= featurizer.first_scored
    semantic, coarse = nats[:, ~is_coarse], nats[:, is_coarse]
    return {
        "loss": float(nats.mean()),
        "semantic": float(semantic.mean()),
        "nll": float(coarse.mean()),
    }


def default_view() -> Featurization:
    """Returns the default featurization of `singsong train`."""
    return Featurization(name=TrainConfig.featurization, noisy=TrainConfig.noisy)


def _targets(dataset: Path, view: Featurization, split: str) -> npt.NDArray[np.int64]:
    reading = LoaderConfig(batch_size=256, split=split, shuffle=False, epochs=1)
    batches = list(ShardDataset(str(dataset), view, reading))
    return np.concatenate([batch["target_tokens"].numpy() for batch in batches])
