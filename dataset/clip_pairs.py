"""The same clips of two datasets side by side, whatever the formats and the number of shards."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from singsong.dataset.clips import column_values
from singsong.dataset.handle import Dataset
from singsong.dataset.manifest import DatasetError, ShardEntry
from singsong.dataset.shard_tables import shard_tables

MOST_SHARDS = 256
"""Of so many shards a row group each takes 2.5 GB, with clips of 10 s and the lite models."""
_SHARDS = re.compile(r"-of-(\d+)-")


class ClipRow(NamedTuple):
    """A clip of a shard.

    Attributes:
        clip_id: Its id.
        columns: The columns that it is a row of, as `column_values` gives them.
        row: Which row.
    """

    clip_id: str
    columns: Mapping[str, Any]
    row: int

    def value(self, column: str) -> Any:
        """Returns a field of the clip."""
        return self.columns[column][self.row]


Pair = tuple[ClipRow | None, ClipRow | None]
"""The clip in the first and in the second dataset; None where it is not."""


def clip_pairs(
    first: Dataset, second: Dataset, split: str, *, on_shard: Callable[[], object]
) -> Iterator[Pair]:
    """Yields each clip that a split of either dataset holds, once.

    A track lies in the shard that its hash modulo the number of shards gives, so shards whose
    numbers are the same modulo a common divisor are read together. Memory holds a row group of
    each of those: of two, where both datasets have as many shards; of all, where the numbers have
    no common divisor.

    Args:
        first: A dataset.
        second: Another.
        split: The split; a dataset without it holds no clips of it.
        on_shard: Called after each shard.

    Raises:
        DatasetError: A shard is damaged, its rows are not sorted by clip id, or more shards would
            have to be read together than `MOST_SHARDS`.
        OSError: A shard cannot be read.
    """
    ours, theirs = (
        dataset.shards_of(split) if split in dataset.manifest.splits else []
        for dataset in (first, second)
    )
    groups = math.gcd(*(_shards_of_split(shard) for shard in (*ours, *theirs))) or 1
    if (together := (len(ours) + len(theirs)) / groups) > MOST_SHARDS:
        raise DatasetError(
            f"the split {split} has {len(ours)} and {len(theirs)} shards, of which {together:.0f} "
            "would have to be read together: assemble one dataset again with a --clips-per-shard "
            "that gives both as many shards; its parts are reused"
        )
    for group in range(groups):
        left, right = (
            _merged(dataset, [one for one in shards if one.shard % groups == group], on_shard)
            for dataset, shards in ((first, ours), (second, theirs))
        )
        yield from _paired(left, right)


def _shards_of_split(shard: ShardEntry) -> int:
    """Returns how many shards the split has, by the shard's name; one if it does not say."""
    return int((_SHARDS.findall(shard.path) or ["1"])[0])


def _merged(
    dataset: Dataset, shards: Sequence[ShardEntry], on_shard: Callable[[], object]
) -> Iterator[ClipRow]:
    rows = [_rows(dataset, shard, on_shard) for shard in shards]
    return heapq.merge(*rows, key=attrgetter("clip_id"))


def _rows(dataset: Dataset, shard: ShardEntry, on_shard: Callable[[], object]) -> Iterator[ClipRow]:
    url, last = dataset.url_of(shard), ""
    for table in shard_tables(url, shard.format, dataset.fields):
        columns = {field.name: column_values(table, field) for field in dataset.fields}
        for row, clip_id in enumerate(columns["clip_id"]):
            if clip_id is None or clip_id <= last:
                raise DatasetError(
                    f"the rows of {url} are not sorted by clip id: see what "
                    f"`singsong dataset verify {dataset.url}` finds"
                )
            last = clip_id
            yield ClipRow(clip_id, columns, row)
    on_shard()


def _paired(left: Iterator[ClipRow], right: Iterator[ClipRow]) -> Iterator[Pair]:
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.clip_id < theirs.clip_id):
            yield ours, None
            ours = next(left, None)
        elif ours is None or theirs.clip_id < ours.clip_id:
            yield None, theirs
            theirs = next(right, None)
        else:
            yield ours, theirs
            ours, theirs = next(left, None), next(right, None)
