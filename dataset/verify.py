"""Checks a dataset on disk; each problem is a sentence that names the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import pyarrow as pa

from singsong import storage
from singsong.dataset.handle import Dataset
from singsong.dataset.manifest import DatasetError, FileEntry, ShardEntry
from singsong.dataset.shard_tables import shard_tables
from singsong.dataset.verify_counts import verify_counts
from singsong.dataset.versions import unlisted_files
from singsong.schemas.records import RecordField


def verify_dataset(
    dataset: Dataset,
    *,
    on_file: Callable[[], object] = lambda: None,
    on_part: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """Yields a sentence for each problem; nothing when the dataset is whole.

    The checks: each listed file exists with its size and hash; rows, schema, frames and range of
    the codes are right; ids are unique, sorted, and the same in every format; no track and no
    recording is in two splits; no version leaves a shard or a table unlisted. And the counts add
    up: samples decoded, rows of the parts (where those still exist), table of tracks, table of dead
    letters, shards and manifest are held against each other.

    Args:
        dataset: The version to check.
        on_file: Called after each file.
        on_part: Called after each encoded track.
    """
    seen: dict[str, _Ids] = {}
    for entry in (*dataset.manifest.tables, *dataset.shards):
        problems = _verify_file(dataset, entry, seen)
        yield from (f"{entry.path}: {problem}" for problem in problems)
        on_file()
    yield from _verify_formats(seen)
    yield from _verify_splits(dataset)
    clips_of_track = {name: ids.clips_of_track for name, ids in seen.items()}
    yield from verify_counts(dataset, clips_of_track, on_part=on_part)
    for path in unlisted_files(dataset.url):
        yield f"{path}: no version of the dataset lists it"


_Names = tuple[str | None, str | None, str | None]
"""Clip, track and split of a row, each None where the row has none."""


class _Ids:
    """The clip ids of one format, and the split of each track."""

    def __init__(self) -> None:
        self.clips: set[str] = set()
        self.split_of_track: dict[str, str] = {}
        self.clips_of_track = Counter[str]()

    def add(self, rows: Sequence[_Names], split: str) -> Iterator[str]:
        """Yields the problems of the rows of a shard; missing names are reported elsewhere."""
        for clip, track, row_split in rows:
            if clip in self.clips:
                yield f"clip {clip} is there twice"
            if clip is not None:
                self.clips.add(clip)
            if track is not None:
                self.clips_of_track[track] += 1
            other = split if track is None else self.split_of_track.setdefault(track, split)
            if other != split:
                yield f"track {track} is in the splits {other} and {split}"
            if row_split not in (split, None):
                yield f"clip {clip} says split {row_split}, the shard is of {split}"


def _verify_file(dataset: Dataset, entry: FileEntry, seen: dict[str, _Ids]) -> list[str]:
    """Returns the problems of a file; a remote one is downloaded once for all checks."""
    try:
        with storage.local_copy(dataset.url_of(entry)) as path:
            problems = list(_verify_bytes(path, entry))
            if not problems and isinstance(entry, ShardEntry):
                ids = seen.setdefault(entry.format, _Ids())
                problems = list(_verify_shard(path, entry, dataset.fields, ids))
    except FileNotFoundError:
        return ["is missing"]
    except OSError as error:
        return [f"cannot be read: {error}"]
    return problems


def _verify_bytes(path: str, entry: FileEntry) -> Iterator[str]:
    sha256, size = storage.sha256_of(path)
    if size != entry.bytes:
        yield f"has {size} bytes, the manifest says {entry.bytes}"
    elif sha256 != entry.sha256:
        yield f"has sha256 {sha256[:12]}, the manifest says {entry.sha256[:12]}"


def _verify_shard(
    path: str, entry: ShardEntry, fields: Sequence[RecordField], ids: _Ids
) -> Iterator[str]:
    rows, last = 0, ""
    try:
        for batch in shard_tables(path, entry.format, fields):
            names = [
                (row["clip_id"], row["track_id"], row["split"])
                for row in batch.select(["clip_id", "track_id", "split"]).to_pylist()
            ]
            yield from ids.add(names, entry.split)
            yield from _verify_columns(batch, fields)
            clips = [clip for clip, _, _ in names if clip is not None]
            if any(a >= b for a, b in pairwise([last, *clips])):
                yield "its rows are not sorted by clip id"
            rows, last = rows + len(names), clips[-1] if clips else last
    except DatasetError as error:
        yield f"cannot be read: {error}"
        return
    if rows != entry.rows:
        yield f"holds {rows} rows, the manifest says {entry.rows}"


def _verify_columns(batch: pa.Table, fields: Sequence[RecordField]) -> Iterator[str]:
    for field in fields:
        column = batch.column(field.name)
        if column.null_count:
            yield f"{field.name} has {column.null_count} empty rows"
        elif field.kind == "codes":
            codes = column.combine_chunks().flatten().to_numpy()
            if codes.size and int(codes.max()) >= field.codebook_size:
                yield (
                    f"{field.name} has code {int(codes.max())}, "
                    f"its codebook has {field.codebook_size}"
                )


def _verify_formats(seen: dict[str, _Ids]) -> Iterator[str]:
    (first, ids), *others = sorted(seen.items()) or [("", _Ids())]
    for name, other in others:
        if other.clips != ids.clips:
            yield f"the {first} and the {name} shards hold different clips"


def _verify_splits(dataset: Dataset) -> Iterator[str]:
    for name, split in dataset.manifest.splits.items():
        for kind in dataset.recipe.formats:
            rows = sum(
                shard.rows
                for shard in dataset.shards
                if (shard.split, shard.format) == (name, kind)
            )
            if rows != split.clips:
                yield f"split {name} has {split.clips} clips, its {kind} shards hold {rows}"
