"""The order of the records in an epoch, as arithmetic on counts: nothing is read for it.

Records lie in row groups of a known size. An epoch takes the shards in a random order, and in each
shard the row groups in a random order. A fixed number of row groups fills a shuffle buffer, whose
records are shuffled together; the first buffers of an epoch are smaller, so that the first batch is
ready soon. Seed, epoch and counts decide which record each position of an epoch holds.
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
    """Returns the row groups of shards, given the number of rows of each.

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


def buffer_edges(groups: int, buffer_groups: int) -> list[int]:
    """Returns where shuffle buffers begin and end in the order of the row groups.

    >>> buffer_edges(13, 4)
    [0, 1, 2, 4, 8, 12, 13]
    """
    edges, size = [0], 1
    while edges[-1] < groups:
        edges.append(min(groups, edges[-1] + size))
        size = min(buffer_groups, edges[-1])
    return edges


@dataclass(frozen=True, kw_only=True)
class ShuffleBuffer:
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


class EpochOrder:
    """The order of one epoch.

    Args:
        groups: The row groups of the split.
        seed: The user's seed.
        epoch: Which epoch.
        buffer_groups: The most row groups in a shuffle buffer.
        shuffle: Whether the records are shuffled; if not, they come in the order of the shards.
    """

    def __init__(
        self, groups: RowGroups, *, seed: int, epoch: int, buffer_groups: int, shuffle: bool
    ) -> None:
        self._groups, self._seed, self._epoch = groups, seed, epoch
        self._shuffle = shuffle
        self._order = self._dealt() if shuffle else np.arange(len(groups.rows))
        self._edges = buffer_edges(len(groups.rows), buffer_groups)
        self._starts = np.concatenate([[0], np.cumsum(groups.rows[self._order])])[self._edges]

    @property
    def buffers(self) -> int:
        """How many shuffle buffers there are."""
        return len(self._edges) - 1

    def buffer_at(self, position: int) -> int:
        """Returns the number of the buffer that holds a position of the epoch."""
        return int(np.searchsorted(self._starts, position, side="right")) - 1

    def buffer(self, number: int) -> ShuffleBuffer:
        """Returns a shuffle buffer."""
        groups = self._order[self._edges[number] : self._edges[number + 1]]
        rows = self._groups.rows[groups]
        group = np.repeat(groups, rows)
        row = np.arange(len(group)) - np.repeat(np.cumsum(rows) - rows, rows)
        if self._shuffle:
            # "window", since the purpose decides the order: another word is another order.
            order = np.argsort(self._random(f"window {number}", len(row)), kind="stable")
            group, row = group[order], row[order]
        return ShuffleBuffer(
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
