"""Reads the records of a window: a task per row group puts each record where the order wants it."""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

import numpy as np

from singsong.dataset.shard_reader import Rows, ShardReader
from singsong.training.featurization import Features, Featurizer
from singsong.training.order import IndexArray, RowGroups, Window


class WindowRead:
    """The records that one reader wants of a window.

    Args:
        window: The window.
        mine: Positions in it of the wanted records, ascending.
        groups: The row groups of the split.
        reader: Reads them.
        featurizer: Turns records into features.
        pool: Where to begin at once; None reads when the result is asked for.
    """

    def __init__(
        self,
        window: Window,
        mine: IndexArray,
        *,
        groups: RowGroups,
        reader: ShardReader,
        featurizer: Featurizer,
        pool: Executor | None,
    ) -> None:
        self._epoch, self._groups = window.epoch, groups
        self._reader, self._featurizer = reader, featurizer
        self._group, self._row = window.group[mine], window.row[mine]
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


def _taken(rows: Rows, wanted: IndexArray) -> Rows:
    return {
        name: values[wanted] if isinstance(values, np.ndarray) else [values[i] for i in wanted]
        for name, values in rows.items()
    }
