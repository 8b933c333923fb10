"""Batches of tokens from a dataset, in an order that any number of processes agree on.

    dataset = ShardDataset("gs://bucket/dataset", Featurization(), LoaderConfig(batch_size=32))
    for batch in dataset:
        loss = step(batch["input_tokens"], batch["target_tokens"])
        checkpoint(dataset.state_dict())

The epochs follow each other without a seam: one long sequence of records, each record once per
epoch. A step takes the next `ranks * batch_size` of them and deals them to the ranks in turn, so
that all ranks take equally many steps, every batch is full and no record is left out. A state is
therefore a number of records, and can be resumed with other ranks, batch sizes and workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.manifest import DatasetError, ShardEntry
from singsong.dataset.shard_reader import ShardReader
from singsong.schemas.recipe import ShardFormat
from singsong.training.featurization import Features, View
from singsong.training.order import EpochOrder, IndexArray, Window, row_groups
from singsong.training.windows import WindowRead

Batch = dict[str, torch.Tensor]

_WINDOWS_HELD = 2


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Which records are read, and how.

    Attributes:
        batch_size: Records in a batch of one rank.
        split: The split.
        seed: Seed of the order; 0 is a seed like any other.
        shuffle: Whether there is a shuffle; if not, the order is that of the shards.
        window_groups: Row groups (of 256 records) that are shuffled together; memory holds two
            such windows.
        epochs: After how many epochs the batches end; None goes on for ever.
        rank: Which of the processes that train together this one is.
        ranks: How many they are.
        threads: Threads that read ahead; 0 reads when a batch is asked for.
        cache: A local folder that keeps remote shards; None reads them again in every epoch.

    Raises:
        ValueError: A field is outside its range.
    """

    batch_size: int
    split: str = "train"
    seed: int = 0
    shuffle: bool = True
    window_groups: int = 16
    epochs: int | None = None
    rank: int = 0
    ranks: int = 1
    threads: int = 2
    cache: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "window_groups", "ranks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank must be in [0, {self.ranks}), found {self.rank}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, found {self.epochs}")
        if self.threads < 0:
            raise ValueError(f"threads must not be negative, found {self.threads}")


class ShardDataset(IterableDataset[Batch]):
    """The batches of one rank: int64 tensors [batch, tokens] by the names of the view's features.

    `row` [batch] says which record of the split each is, in the order of the shards.

    Each iteration starts at the first record, or where the state that was loaded was taken. With
    `epochs` set, the last step deals what is left as evenly as it goes: a last batch may be smaller
    and, on some ranks, missing. Threads read ahead, so that worker processes are not needed; in a
    `DataLoader(dataset, batch_size=None, num_workers=n)` the batches and their order are the same,
    but each worker decodes all row groups.

    A damaged page is never given out. Damage elsewhere in a shard is found by its sha256, in the
    background, and ends the iteration before the next window.

    Args:
        dataset: Folder or URL of the dataset.
        view: What is read of a record.
        config: Which records, and how.
        version: The first digits, twelve, of the digest of an older version; None is the newest.

    Raises:
        DatasetError: There is no dataset, or the split holds no records.
        ValueError: The view does not fit the dataset, or it has no such split.
    """

    def __init__(
        self, dataset: str, view: View, config: LoaderConfig, *, version: str | None = None
    ) -> None:
        opened = open_dataset(dataset, version)
        self.manifest = opened.manifest
        self.featurizer = view.of(opened)
        self.config = config
        self._dataset = dataset
        self._shards = _shards_of(opened, config.split)
        self._groups = row_groups([shard.rows for shard in self._shards])
        self._verified: set[int] = set()
        self._start = 0
        self._steps = 0

    @property
    def records(self) -> int:
        """Number of records in an epoch."""
        return self._groups.total

    def __len__(self) -> int:
        """Returns the number of batches that an iteration gives to this rank.

        Raises:
            TypeError: It goes on for ever.
        """
        if self.config.epochs is None:
            raise TypeError("batches without `epochs` have no end, and so no length")
        left = self.config.epochs * self.records - self._start
        steps, rest = divmod(left, self._step_records)
        return steps + (rest > self.config.rank)

    def state_dict(self, steps: int | None = None) -> dict[str, Any]:
        """Returns what `load_state_dict` needs to go on with the next record.

        Args:
            steps: How many batches of the iteration were used. None means all that this object gave
                out; a `DataLoader` with worker processes reads ahead in copies of it, so that its
                user has to count.
        """
        used = self._steps if steps is None else steps
        samples = self._start + used * self._step_records
        if self.config.epochs is not None:
            samples = min(samples, self.config.epochs * self.records)
        return {"samples": samples, **self._identity}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Lets the next iteration start where a state was taken.

        Raises:
            ValueError: The state is of another dataset or of another order.
        """
        different = [
            f"{name} was {state.get(name)!r} and is {value!r}"
            for name, value in self._identity.items()
            if state.get(name) != value
        ]
        if different:
            raise ValueError(f"the state is of another order of records: {'; '.join(different)}")
        self._start, self._steps = state["samples"], 0

    def __iter__(self) -> Iterator[Batch]:
        self._steps = 0
        worker = get_worker_info()
        index, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for batch in self._batches(index, workers):
            self._steps += 1
            yield batch

    @property
    def _identity(self) -> dict[str, Any]:
        config = self.config
        return {
            "dataset_digest": self.manifest.dataset_digest,
            "split": config.split,
            "seed": config.seed,
            "shuffle": config.shuffle,
            "window_groups": config.window_groups,
        }

    @property
    def _step_records(self) -> int:
        return self.config.ranks * self.config.batch_size

    def _batches(self, worker: int, workers: int) -> Iterator[Batch]:
        held: deque[Features] = deque()
        count = 0
        for rows in self._loaded_windows(worker, workers):
            held.append(rows)
            count += len(rows["row"])
            del rows
            while count >= self.config.batch_size:
                yield _batch(held, self.config.batch_size)
                count -= self.config.batch_size
        if count:
            yield _batch(held, count)

    def _loaded_windows(self, worker: int, workers: int) -> Iterator[Features]:
        """Yields the records of this reader, a window at a time; the next one is read ahead."""
        threads, fields = self.config.threads, self.featurizer.fields
        reader = ShardReader(
            self._dataset,
            self._shards,
            fields=fields,
            cache=self.config.cache,
            verified=self._verified,
        )
        ahead: deque[WindowRead] = deque()
        pool = ThreadPoolExecutor(threads) if threads else None
        try:
            for window in self._windows():
                read = WindowRead(
                    window,
                    self._mine(window, worker, workers),
                    groups=self._groups,
                    reader=reader,
                    featurizer=self.featurizer,
                    pool=pool,
                )
                ahead.append(read)
                if len(ahead) == _WINDOWS_HELD:
                    yield _then_checked(ahead[0], reader)
                    reader.check(ahead.popleft().shards)
                    reader.keep(shard for read in ahead for shard in read.shards)
            while ahead:
                yield _then_checked(ahead[0], reader)
                reader.check(ahead.popleft().shards)
        finally:
            if pool is not None:
                pool.shutdown(cancel_futures=True)
            reader.close()

    def _windows(self) -> Iterator[Window]:
        config = self.config
        epoch, position = divmod(self._start, self.records)
        while config.epochs is None or epoch < config.epochs:
            order = EpochOrder(
                self._groups,
                seed=config.seed,
                epoch=epoch,
                window_groups=config.window_groups,
                shuffle=config.shuffle,
            )
            for number in range(order.window_at(position), order.windows):
                yield order.window(number)
            epoch, position = epoch + 1, 0

    def _mine(self, window: Window, worker: int, workers: int) -> IndexArray:
        """Returns the positions in a window of the records of this rank and worker."""
        first = window.epoch * self.records + window.start - self._start
        since = first + np.arange(len(window.row))
        step = since // self._step_records
        mine = (since >= 0) & (since % self.config.ranks == self.config.rank)
        return np.flatnonzero(mine & (step % workers == worker))


def _shards_of(dataset: Dataset, split: str) -> list[ShardEntry]:
    of_split = [shard for shard in dataset.shards_of(split) if shard.rows]
    if not of_split:
        raise DatasetError(f"split {split} holds no records")
    if any(shard.format != ShardFormat.PARQUET for shard in of_split):
        raise DatasetError(f"split {split} has no Parquet shards, and no other format is read")
    return of_split


def _then_checked(read: WindowRead, reader: ShardReader) -> Features:
    """Returns what was read; the checks of its shards begin after it, and delay no first batch."""
    features = read.result()
    reader.begin_checks(read.shards)
    return features


def _batch(held: deque[Features], size: int) -> Batch:
    """Takes the first records off what is held."""
    parts = []
    while size:
        rows = held.popleft()
        count = min(size, len(rows["row"]))
        parts.append({name: values[:count] for name, values in rows.items()})
        if count < len(rows["row"]):
            held.appendleft({name: values[count:] for name, values in rows.items()})
        size -= count
    return {
        name: torch.from_numpy(np.concatenate([part[name] for part in parts], dtype=np.int64))
        for name in parts[0]
    }
