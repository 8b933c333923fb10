"""The order of the records in an epoch, as arithmetic on counts: nothing is read for it.

Records lie in row groups of a known size. An epoch takes the shards in a random order, and in each
shard the row groups in a random order. So many row groups at a time are a window, whose records are
shuffled together; the first windows of an epoch are smaller, so that the first batch is there soon.
Where a position of the epoch lies follows from seed, epoch and counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.schemas.records import ROWS_PER_GROUP
from singsong.schemas.seeds import generator

IndexArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RowGroups:
    """The row groups of a split.

    Attributes:
        shard: Which shard each lies in, int64 [groups].
        number: Which row group of that shard each is.
        rows: How many records each holds.
        first_row: How many records of the split lie before each.
    """

    shard: IndexArray
    number: IndexArray
    rows: IndexArray
    first_row: IndexArray

    @property
    def total(self) -> int:
        """Number of records in the split."""
        return int(self.rows.sum())


def row_groups(shard_rows: Sequence[int], rows_per_group: int = ROWS_PER_GROUP) -> RowGroups:
    """Returns the row groups of shards with so many rows.

    >>> groups = row_groups([5, 0, 2], rows_per_group=2)
    >>> groups.shard.tolist(), groups.number.tolist(), groups.rows.tolist()
    ([0, 0, 0, 2], [0, 1, 2, 0], [2, 2, 1, 2])
    """
    rows = np.asarray(shard_rows, np.int64)
    groups = -(-rows // rows_per_group)
    shard = np.repeat(np.arange(len(rows)), groups)
    number = np.arange(len(shard)) - np.repeat(np.cumsum(groups) - groups, groups)
    inside = np.minimum(rows_per_group, rows[shard] - number * rows_per_group)
    return RowGroups(shard=shard, number=number, rows=inside, first_row=np.cumsum(inside) - inside)


def window_edges(groups: int, window_groups: int) -> list[int]:
    """Returns where windows begin and end in the order of the row groups.

    >>> window_edges(13, 4)
    [0, 1, 2, 4, 8, 12, 13]
    """
    edges, size = [0], 1
    while edges[-1] < groups:
        edges.append(min(groups, edges[-1] + size))
        size = min(window_groups, edges[-1])
    return edges


@dataclass(frozen=True, kw_only=True)
class Window:
    """Row groups whose records are shuffled together.

    Attributes:
        epoch: The epoch.
        start: Position in the epoch of its first record.
        groups: Its row groups, int64 [groups].
        group: Which of them holds the record at each position, int64 [rows].
        row: Which row of that row group it is, int64 [rows].
    """

    epoch: int
    start: int
    groups: IndexArray
    group: IndexArray
    row: IndexArray

    @property
    def end(self) -> int:
        """Position after its last record."""
        return self.start + len(self.row)


class EpochOrder:
    """The order of one epoch.

    Args:
        groups: The row groups of the split.
        seed: The user's seed.
        epoch: Which epoch.
        window_groups: Row groups in a window, at most.
        shuffle: Whether there is a shuffle; if not, the order is that of the shards.
    """

    def __init__(
        self, groups: RowGroups, *, seed: int, epoch: int, window_groups: int, shuffle: bool
    ) -> None:
        self._groups, self._seed, self._epoch = groups, seed, epoch
        self._shuffle = shuffle
        self._order = self._dealt() if shuffle else np.arange(len(groups.rows))
        self._edges = window_edges(len(groups.rows), window_groups)
        self._starts = np.concatenate([[0], np.cumsum(groups.rows[self._order])])[self._edges]

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self._edges) - 1

    def window_at(self, position: int) -> int:
        """Returns the number of the window that holds a position of the epoch."""
        return int(np.searchsorted(self._starts, position, side="right")) - 1

    def window(self, number: int) -> Window:
        """Returns a window."""
        groups = self._order[self._edges[number] : self._edges[number + 1]]
        rows = self._groups.rows[groups]
        group = np.repeat(groups, rows)
        row = np.arange(len(group)) - np.repeat(np.cumsum(rows) - rows, rows)
        if self._shuffle:
            order = np.argsort(self._random(f"window {number}", len(row)), kind="stable")
            group, row = group[order], row[order]
        return Window(
            epoch=self._epoch, start=int(self._starts[number]), groups=groups, group=group, row=row
        )

    def _dealt(self) -> IndexArray:
        shards = self._random("shards", int(self._groups.shard.max()) + 1)
        groups = self._random("groups", len(self._groups.shard))
        return np.lexsort((groups, shards[self._groups.shard]))

    def _random(self, purpose: str, count: int) -> npt.NDArray[np.uint64]:
        """Raw numbers, not `permutation`: NumPy may change the latter between versions."""
        keyed = generator(seed=self._seed, purpose=f"order of {purpose}", key=f"{self._epoch}")
        return np.asarray(keyed.bit_generator.random_raw(count))
