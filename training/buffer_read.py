"""Reads a shuffle buffer: one task per row group puts each record where the order wants it."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Executor
from functools import partial
from typing import TypeAlias

import numpy as np
import torch

from singsong.dataset.shard_reader import Rows, ShardReader
from singsong.training.featurizer import Features, Featurizer
from singsong.training.order import IndexArray, RowGroups, ShuffleBuffer

Batch: TypeAlias = dict[str, torch.Tensor]


class BufferRead:
    """The records that one reader wants of a shuffle buffer.

    Args:
        buffer: The shuffle buffer.
        mine: Positions in it of the wanted records, ascending.
        groups: The row groups of the split.
        reader: Reads them.
        featurizer: Turns records into features.
        pool: Where reading starts at once; None reads when the result is asked for.
    """

    def __init__(
        self,
        buffer: ShuffleBuffer,
        mine: IndexArray,
        *,
        groups: RowGroups,
        reader: ShardReader,
        featurizer: Featurizer,
        pool: Executor | None,
    ) -> None:
        self._epoch, self._groups = buffer.epoch, groups
        self._reader, self._featurizer = reader, featurizer
        self._group, self._row = buffer.group[mine], buffer.row[mine]
        wanted = np.flatnonzero(np.bincount(self._group))
        self.shards = frozenset(groups.shard[wanted].tolist())
        self._features: Features = {
            name: np.empty((len(mine), length), featurizer.dtype)
            for name, length in featurizer.lengths.items()
        }
        self._features["row"] = groups.first_row[self._group] + self._row
        tasks = [partial(self._read, group) for group in wanted.tolist()]
        self._tasks = [pool.submit(task).result for task in tasks] if pool else tasks

    def result(self) -> Features:
        """Returns the features of the records, in their order, when all of them are read.

        Raises:
            DatasetError: A shard is missing, damaged, or not what the recipe says.
        """
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task()
        return self._features

    def _read(self, group: int) -> None:
        at = np.flatnonzero(self._group == group)
        at = at[np.argsort(self._row[at])]
        rows = self._reader.read(int(self._groups.shard[group]), int(self._groups.number[group]))
        if len(at) < self._groups.rows[group]:
            rows = _taken(rows, self._row[at])
        for name, values in self._featurizer.features(rows, epoch=self._epoch).items():
            self._features[name][at] = values


def take_batch(held: deque[Features], size: int) -> Batch:
    """Removes the first records from those held and returns them as a batch."""
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


def _taken(rows: Rows, wanted: IndexArray) -> Rows:
    return {
        name: values[wanted] if isinstance(values, np.ndarray) else [values[i] for i in wanted]
        for name, values in rows.items()
    }
