"""Everything that can be wrong with a dataset on disk, each as a sentence that names the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.dataset import tfrecord
from singsong.dataset.commit import listed_files
from singsong.dataset.manifest import DatasetError, FileEntry, Manifest, ShardEntry, manifest_fields
from singsong.schemas.names import SHARDS_FOLDER, TABLES_FOLDER
from singsong.schemas.records import RecordField, shard_schema

_BATCH_ROWS = 256


def verify_dataset(
    dataset: str, manifest: Manifest, *, on_file: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """Yields a sentence for each thing that is wrong; nothing when the dataset is whole.

    Checked are: that each listed file is there with its bytes and hash; rows, schema, frames and
    range of the codes; that ids are unique, sorted, and the same in every format; that no track and
    no recording lies in two splits; that the counts add up; that no other file lies between them.

    Args:
        dataset: Folder or URL.
        manifest: The version to check.
        on_file: Called after each file.
    """
    fields = manifest_fields(manifest)
    seen: dict[str, _Ids] = {}
    for entry in (*manifest.tables, *manifest.shards):
        problems = list(_verify_bytes(dataset, entry))
        if not problems and isinstance(entry, ShardEntry):
            ids = seen.setdefault(entry.format, _Ids())
            problems = list(_verify_shard(dataset, entry, fields, ids))
        yield from (f"{entry.path}: {problem}" for problem in problems)
        on_file()
    yield from _verify_formats(seen)
    yield from _verify_counts(manifest)
    yield from _verify_recordings(dataset, manifest)
    yield from _unlisted(dataset)


class _Ids:
    """The clip ids of one format, and the split of each track."""

    def __init__(self) -> None:
        self.clips: set[str] = set()
        self.split_of_track: dict[str, str] = {}

    def add(self, rows: Sequence[tuple[str, str, str]], split: str) -> Iterator[str]:
        for clip, track, row_split in rows:
            if clip in self.clips:
                yield f"clip {clip} is there twice"
            self.clips.add(clip)
            other = self.split_of_track.setdefault(track, split)
            if other != split:
                yield f"track {track} is in the splits {other} and {split}"
            if row_split != split:
                yield f"clip {clip} says split {row_split}, the shard is of {split}"


def _verify_bytes(dataset: str, entry: FileEntry) -> Iterator[str]:
    try:
        sha256, size = storage.sha256_of(storage.join(dataset, entry.path))
    except FileNotFoundError:
        yield "is missing"
        return
    except OSError as error:
        yield f"cannot be read: {error}"
        return
    if size != entry.bytes:
        yield f"has {size} bytes, the manifest says {entry.bytes}"
    elif sha256 != entry.sha256:
        yield f"has sha256 {sha256[:12]}, the manifest says {entry.sha256[:12]}"


def _verify_shard(
    dataset: str, entry: ShardEntry, fields: Sequence[RecordField], ids: _Ids
) -> Iterator[str]:
    read = _READERS[entry.format]
    rows, last = 0, ""
    with storage.open_read(storage.join(dataset, entry.path)) as file:
        try:
            for batch in read(file, fields):
                names = [
                    (row["clip_id"], row["track_id"], row["split"])
                    for row in batch.select(["clip_id", "track_id", "split"]).to_pylist()
                ]
                yield from ids.add(names, entry.split)
                yield from _verify_codes(batch, fields)
                if any(a >= b for a, b in zip([last, *_first(names)], _first(names), strict=False)):
                    yield "its rows are not sorted by clip id"
                rows, last = rows + len(names), names[-1][0] if names else last
        except (pa.ArrowException, tfrecord.RecordCorruptError, DatasetError) as error:
            yield f"cannot be read: {error}"
            return
    if rows != entry.rows:
        yield f"holds {rows} rows, the manifest says {entry.rows}"


def _first(names: Sequence[tuple[str, str, str]]) -> list[str]:
    return [name for name, _, _ in names]


def _verify_codes(batch: pa.Table, fields: Sequence[RecordField]) -> Iterator[str]:
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


def _parquet_batches(file: Any, fields: Sequence[RecordField]) -> Iterator[pa.Table]:
    parquet = pq.ParquetFile(file)
    schema = shard_schema(fields)
    if not parquet.schema_arrow.equals(schema):
        raise DatasetError(
            f"its schema is not that of the recipe (frames or columns differ): "
            f"{parquet.schema_arrow.names}"
        )
    for batch in parquet.iter_batches(_BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def _tfrecord_batches(file: Any, fields: Sequence[RecordField]) -> Iterator[pa.Table]:
    rows: list[dict[str, Any]] = []
    for record in tfrecord.read_records(file):
        rows.append(tfrecord.decode_example(record))
        if len(rows) == _BATCH_ROWS:
            yield _tfrecord_table(rows, fields)
            rows = []
    if rows:
        yield _tfrecord_table(rows, fields)


def _tfrecord_table(rows: Sequence[dict[str, Any]], fields: Sequence[RecordField]) -> pa.Table:
    columns = []
    for field in fields:
        try:
            values = [row[field.name] for row in rows]
        except KeyError:
            raise DatasetError(f"a record has no {field.name}") from None
        if field.kind == "codes":
            if any(len(value) != 2 * field.values for value in values):
                raise DatasetError(f"{field.name} must be {field.shape} in every record")
            codes = np.frombuffer(b"".join(values), "<u2").astype(np.uint16)
            columns.append(
                pa.FixedSizeListArray.from_arrays(pa.array(codes), type=field.arrow_type)
            )
        else:
            if field.kind == "string":
                values = [value.decode() for value in values]
            columns.append(pa.array(values, field.arrow_type))
    return pa.Table.from_arrays(columns, schema=shard_schema(fields))


_READERS = {"parquet": _parquet_batches, "tfrecord": _tfrecord_batches}


def _verify_formats(seen: dict[str, _Ids]) -> Iterator[str]:
    (first, ids), *others = seen.items() or [("", _Ids())]
    for name, other in others:
        if other.clips != ids.clips:
            yield f"the {first} and the {name} shards hold different clips"


def _verify_counts(manifest: Manifest) -> Iterator[str]:
    for name, split in manifest.splits.items():
        for kind in manifest.recipe["formats"]:
            rows = sum(
                shard.rows
                for shard in manifest.shards
                if (shard.split, shard.format) == (name, kind)
            )
            if rows != split["clips"]:
                yield f"split {name} has {split['clips']} clips, its {kind} shards hold {rows}"
    tracks = manifest.counts["tracks"]
    accounted = tracks["encoded"] + tracks["duplicate"] + sum(tracks["failed"].values())
    if accounted != tracks["listed"]:
        yield f"{tracks['listed']} tracks were listed, {accounted} are accounted for"


def _verify_recordings(dataset: str, manifest: Manifest) -> Iterator[str]:
    try:
        with storage.open_read(storage.join(dataset, manifest.table("tracks").path)) as file:
            rows = pq.read_table(file, columns=["audio_sha256", "split", "status"]).to_pylist()
    except (OSError, pa.ArrowException, DatasetError) as error:
        yield f"the table of tracks cannot be read: {error}"
        return
    split_of: dict[str, str] = {}
    for row in rows:
        if row["status"] != "encoded":
            continue
        other = split_of.setdefault(row["audio_sha256"], row["split"])
        if other != row["split"]:
            yield f"recording {row['audio_sha256'][:12]} is in the splits {other}, {row['split']}"


def _unlisted(dataset: str) -> Iterator[str]:
    listed = listed_files(dataset)
    for folder in (SHARDS_FOLDER, TABLES_FOLDER):
        for name in storage.list_files(storage.join(dataset, folder)):
            if f"{folder}/{name}" not in listed:
                yield f"{folder}/{name}: no version of the dataset lists it"
