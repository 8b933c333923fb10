"""Shards: the kept clips of many tracks, in one order, in every format at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.dataset import tfrecord
from singsong.dataset.manifest import ShardEntry
from singsong.dataset.parts import read_rows
from singsong.schemas.names import shard_path
from singsong.schemas.records import ROWS_PER_GROUP, RecordField, shard_fields, shard_schema


@dataclass(frozen=True, kw_only=True)
class ShardSource:
    """A part that has rows for a shard.

    Attributes:
        track_id: Hex sha256 of the track.
        path: The part, relative to the parts folder.
        kept: Positions of the rows in it.
    """

    track_id: str
    path: str
    kept: tuple[int, ...]


class _Writer(Protocol):
    def write(self, table: pa.Table) -> None: ...
    def close(self) -> None: ...


class _ParquetShard:
    def __init__(self, file: storage.HashingFile, fields: Sequence[RecordField]) -> None:
        self._writer = pq.ParquetWriter(
            pa.PythonFile(file, mode="w"),
            shard_schema(fields),
            compression="zstd",
            write_page_checksum=True,
        )

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)

    def close(self) -> None:
        self._writer.close()


class _TFRecordShard:
    def __init__(self, file: storage.HashingFile, fields: Sequence[RecordField]) -> None:
        self._file, self._fields = file, fields

    def write(self, table: pa.Table) -> None:
        for example in tfrecord.encode_examples(table, self._fields):
            self._file.write(tfrecord.frame_record(example))

    def close(self) -> None:
        self._file.flush()


_WRITERS: Mapping[str, Callable[[storage.HashingFile, Sequence[RecordField]], _Writer]] = {
    "parquet": _ParquetShard,
    "tfrecord": _TFRecordShard,
}


def write_shard(
    sources: Iterable[ShardSource],
    *,
    dataset: str,
    parts: str,
    fields: Sequence[RecordField],
    formats: Sequence[str],
    split: str,
    shard: int,
    shards: int,
) -> list[ShardEntry]:
    """Writes one shard in each format and returns their entries.

    The rows are sorted by clip id, because parts are read one after another in the order of their
    track ids. Memory holds a few row groups, however large the shard is.

    Args:
        sources: The parts with rows for this shard, in any order.
        dataset: Folder or URL of the dataset.
        parts: Folder or URL of the parts.
        fields: The record table.
        formats: "parquet", "tfrecord" or both.
        split: The split of all its rows.
        shard: Its number.
        shards: How many the split has.

    Raises:
        OSError: A part cannot be read, or the disk is full.
        ValueError: Two sources are one track.
    """
    ordered = sorted(sources, key=lambda source: source.track_id)
    if len({source.track_id for source in ordered}) != len(ordered):
        raise ValueError(f"a track comes twice in shard {shard} of split {split}")
    chosen = shard_fields(fields)
    with ExitStack() as stack:
        outputs = [
            _Output(name, stack.enter_context(storage.spooled_file()), chosen) for name in formats
        ]
        for output in outputs:
            stack.callback(output.writer.close)
        rows = 0
        for table in _regrouped(_shard_tables(ordered, parts, chosen, split)):
            rows += table.num_rows
            for output in outputs:
                output.writer.write(table)
        return [
            output.put(dataset, rows=rows, split=split, shard=shard, shards=shards)
            for output in outputs
        ]


class _Output:
    """One format of a shard: a scratch file until its hash, and so its name, is known."""

    def __init__(self, format_name: str, file: BinaryIO, fields: Sequence[RecordField]) -> None:
        self._format = format_name
        self._file = file
        self._hashed = storage.HashingFile(file)
        self.writer: _Writer = _WRITERS[format_name](self._hashed, fields)

    def put(self, dataset: str, *, rows: int, split: str, shard: int, shards: int) -> ShardEntry:
        self.writer.close()
        sha256 = self._hashed.sha256
        path = shard_path(
            split=split, shard=shard, shards=shards, sha256=sha256, suffix=self._format
        )
        storage.put_file(storage.join(dataset, path), self._file)
        return ShardEntry(
            path=path,
            rows=rows,
            bytes=self._hashed.bytes_written,
            sha256=sha256,
            split=split,
            shard=shard,
            format=self._format,
        )


def _shard_tables(
    sources: Sequence[ShardSource], parts: str, fields: Sequence[RecordField], split: str
) -> Iterator[pa.Table]:
    stored = [field.name for field in fields if field.where == "both"]
    schema = shard_schema(fields)
    for source in sources:
        for table in read_rows(storage.join(parts, source.path), source.kept, stored):
            splits = pa.array([split] * table.num_rows, pa.string())
            yield table.append_column("split", splits).select(schema.names).cast(schema)


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yields the same rows in groups of one size, so that the bytes do not depend on the parts."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        while rows >= ROWS_PER_GROUP:
            whole = pa.concat_tables(held)
            yield whole.slice(0, ROWS_PER_GROUP).combine_chunks()
            held, rows = [whole.slice(ROWS_PER_GROUP)], rows - ROWS_PER_GROUP
    if rows:
        yield pa.concat_tables(held).combine_chunks()
