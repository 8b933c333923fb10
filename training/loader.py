"""Batches of tokens from a dataset, in an order that any number of processes agree on.

The epochs follow each other without a gap: one long sequence of records, each record once per
epoch. A step takes the next `ranks * batch_size` of them and deals them to the ranks in turn, so
that all ranks take equally many steps, every batch is full and no record is left out. A state is
therefore a number of records, and can be resumed with other ranks, batch sizes and workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.manifest import DatasetError, ShardEntry
from singsong.dataset.shard_reader import ShardReader
from singsong.schemas.recipe import ShardFormat
from singsong.training.buffer_read import Batch, BufferRead, take_batch
from singsong.training.featurization import View
from singsong.training.featurizer import Features, featurizer_of
from singsong.training.order import EpochOrder, IndexArray, ShuffleBuffer, row_groups

LoaderState: TypeAlias = Mapping[str, str | int | bool]
"""A place in the order of records, as JSON values."""

_BUFFERS_HELD = 2


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """Which records are read, and how.

    Attributes:
        batch_size: Records in a batch of one rank.
        split: The split.
        seed: Seed of the order and of the fine model's crops; 0 is a seed like any other.
        shuffle: Whether the records are shuffled; if not, they come in the order of the shards.
        buffer_groups: Row groups (of 256 records) in a shuffle buffer; memory holds two buffers.
        epochs: After how many epochs the batches end; None never ends.
        rank: Number of this process among those that train together.
        ranks: How many processes train together.
        threads: Threads that read ahead; 0 reads when a batch is asked for.
        cache: A local folder that keeps remote shards; None reads them again in every epoch.

    Raises:
        ValueError: A field is outside its range.

    >>> LoaderConfig(batch_size=32, split="validation", shuffle=False, epochs=1).ranks
    1
    """

    batch_size: int
    split: str = "train"
    seed: int = 0
    shuffle: bool = True
    buffer_groups: int = 16
    epochs: int | None = None
    rank: int = 0
    ranks: int = 1
    threads: int = 2
    cache: str | None = None

    def __post_init__(self) -> None:
        for name in ("batch_size", "buffer_groups", "ranks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank must be in [0, {self.ranks}), found {self.rank}")
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, found {self.epochs}")
        if self.threads < 0:
            raise ValueError(f"threads must not be negative, found {self.threads}")


class ShardDataset(IterableDataset[Batch]):
    """The batches of one rank, as tensors of tokens.

    A batch is a dict of int64 tensors: `input_tokens` and `target_tokens`, [batch, tokens] each,
    and `row` [batch], the number of each record in the split, counted in the order of the shards.

        dataset = ShardDataset("gs://bucket/dataset", Featurization(), LoaderConfig(batch_size=32))
        for batch in dataset:
            loss = step(batch["input_tokens"], batch["target_tokens"])
            state = dataset.state_dict()  # load_state_dict(state) continues with the next batch

    Each iteration starts at the first record, or where the loaded state was taken. With `epochs`
    set, the last step deals the remaining records as evenly as possible: the last batch may be
    smaller and, on some ranks, missing. Threads read ahead, so worker processes are not needed; in
    a `DataLoader(dataset, batch_size=None, num_workers=n)` the batches and their order are the
    same, but each worker decodes all row groups.

    A damaged page is never returned. Damage elsewhere in a shard is found by its sha256, in the
    background, and ends the iteration before the next shuffle buffer.

    Args:
        dataset: Folder or URL of the dataset.
        view: What is read of a record: a `Featurization`, or `FineCrops`.
        config: Which records are read, and how.
        version: The first twelve digits of the digest of an older version; None is the newest.

    Raises:
        DatasetError: There is no dataset, or the split holds no records.
        ValueError: The view does not fit the dataset, or the dataset has no such split.
    """

    def __init__(
        self, dataset: str, view: View, config: LoaderConfig, *, version: str | None = None
    ) -> None:
        opened = open_dataset(dataset, version)
        self.manifest = opened.manifest
        self.featurizer = featurizer_of(view, opened, seed=config.seed)
        self.config = config
        self._dataset = dataset
        self._shards = _shards_of(opened, config.split)
        self._groups = row_groups([shard.rows for shard in self._shards])
        self._verified: set[int] = set()
        self._start = 0
        self._steps = 0
        self._workers = 1
        # Worker processes iterate in copies of this object, but share this.
        self._in_workers = torch.zeros(1, dtype=torch.bool).share_memory_()

    @property
    def records(self) -> int:
        """Number of records in an epoch."""
        return self._groups.total

    def __len__(self) -> int:
        """Returns the number of batches that this rank gets in an iteration.

        Raises:
            TypeError: The iteration never ends.
        """
        if self.config.epochs is None:
            raise TypeError("batches without `epochs` never end, so they have no length")
        left = self.config.epochs * self.records - self._start
        steps, rest = divmod(left, self._step_records)
        return steps + (rest > self.config.rank)

    def state_dict(self, steps: int | None = None) -> LoaderState:
        """Returns what `load_state_dict` needs to continue with the next record.

        Args:
            steps: How many batches of the iteration were used. None means all that this object has
                yielded; a `DataLoader` with worker processes reads ahead in copies of this object,
                so there the caller has to count. torchdata's `StatefulDataLoader` asks the copies.

        Raises:
            ValueError: Nobody has counted: the last iteration ran in worker processes.
        """
        if steps is None and get_worker_info() is None and self._in_workers:
            raise ValueError(
                "the batches came from worker processes, and how many of them were used is not "
                "known here: pass state_dict(steps=...), or use torchdata's StatefulDataLoader"
            )
        used = self._steps * self._workers if steps is None else steps
        samples = self._start + used * self._step_records
        if self.config.epochs is not None:
            samples = min(samples, self.config.epochs * self.records)
        return {"samples": samples, **self._identity}

    def load_state_dict(self, state: LoaderState) -> None:
        """Makes the next iteration start where a state was taken.

        Raises:
            ValueError: The state belongs to another dataset or to another order.
        """
        different = [
            f"{name} was {state.get(name)!r} and is {value!r}"
            for name, value in self._identity.items()
            if state.get(name) != value
        ]
        if different:
            raise ValueError(
                f"the state belongs to another order of records: {'; '.join(different)}"
            )
        self._start, self._steps = int(state["samples"]), 0

    def __iter__(self) -> Generator[Batch, None, None]:
        self._steps = 0
        worker = get_worker_info()
        index, self._workers = (worker.id, worker.num_workers) if worker else (0, 1)
        self._in_workers.fill_(worker is not None)
        for batch in self._batches(index, self._workers):
            self._steps += 1
            yield batch

    @property
    def _identity(self) -> LoaderState:
        config = self.config
        return {
            "dataset_digest": self.manifest.dataset_digest,
            "split": config.split,
            "seed": config.seed,
            "shuffle": config.shuffle,
            "window_groups": config.buffer_groups,  # the key that saved states have
        }

    @property
    def _step_records(self) -> int:
        return self.config.ranks * self.config.batch_size

    def _batches(self, worker: int, workers: int) -> Iterator[Batch]:
        held: deque[Features] = deque()
        count = 0
        for rows in self._loaded_buffers(worker, workers):
            held.append(rows)
            count += len(rows["row"])
            del rows
            while count >= self.config.batch_size:
                yield take_batch(held, self.config.batch_size)
                count -= self.config.batch_size
        if count:
            yield take_batch(held, count)

    def _loaded_buffers(self, worker: int, workers: int) -> Iterator[Features]:
        """Yields the records of this reader, a buffer at a time; the next one is read ahead."""
        threads, fields = self.config.threads, self.featurizer.fields
        reader = ShardReader(
            self._dataset,
            self._shards,
            fields=fields,
            cache=self.config.cache,
            verified=self._verified,
        )
        ahead: deque[BufferRead] = deque()
        pool = ThreadPoolExecutor(threads) if threads else None
        try:
            for buffer in self._buffers():
                read = BufferRead(
                    buffer,
                    self._mine(buffer, worker, workers),
                    groups=self._groups,
                    reader=reader,
                    featurizer=self.featurizer,
                    pool=pool,
                )
                ahead.append(read)
                if len(ahead) == _BUFFERS_HELD:
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

    def _buffers(self) -> Iterator[ShuffleBuffer]:
        config = self.config
        epoch, position = divmod(self._start, self.records)
        while config.epochs is None or epoch < config.epochs:
            order = EpochOrder(
                self._groups,
                seed=config.seed,
                epoch=epoch,
                buffer_groups=config.buffer_groups,
                shuffle=config.shuffle,
            )
            for number in range(order.buffer_at(position), order.buffers):
                yield order.buffer(number)
            epoch, position = epoch + 1, 0

    def _mine(self, buffer: ShuffleBuffer, worker: int, workers: int) -> IndexArray:
        """Returns the positions in a buffer of the records of this rank and worker."""
        first = buffer.epoch * self.records + buffer.start - self._start
        since = first + np.arange(len(buffer.row))
        step = since // self._step_records
        mine = (since >= 0) & (since % self.config.ranks == self.config.rank)
        return np.flatnonzero(mine & (step % workers == worker))


def _shards_of(dataset: Dataset, split: str) -> list[ShardEntry]:
    shards = [shard for shard in dataset.shards_of(split) if shard.rows]
    if not shards:
        raise DatasetError(f"split {split} holds no records")
    if any(shard.format != ShardFormat.PARQUET for shard in shards):
        raise DatasetError(
            f"split {split} has no Parquet shards, and the loader reads no other format"
        )
    return shards


def _then_checked(read: BufferRead, reader: ShardReader) -> Features:
    """Returns what was read. The checks of its shards begin afterwards: they delay no batch."""
    features = read.result()
    reader.begin_checks(read.shards)
    return features
