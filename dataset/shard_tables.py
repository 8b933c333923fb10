"""Shards of either format as Arrow tables, a few hundred rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from singsong import storage
from singsong.dataset import tfrecord
from singsong.dataset.manifest import DatasetError
from singsong.dataset.parquet_files import open_parquet
from singsong.schemas.recipe import ShardFormat
from singsong.schemas.records import ROWS_PER_GROUP, RecordField, shard_schema


def shard_tables(url: str, shard_format: str, fields: Sequence[RecordField]) -> Iterator[pa.Table]:
    """Yields the rows of a shard, in order.

    Args:
        url: The shard.
        shard_format: One of `ShardFormat`.
        fields: The fields of the shard, all of them.

    Raises:
        DatasetError: The shard is damaged, or its columns are not the fields.
        OSError: It cannot be read.
    """
    return _READERS[ShardFormat(shard_format)](url, fields)


def _parquet_tables(url: str, fields: Sequence[RecordField]) -> Iterator[pa.Table]:
    reader = open_parquet(url)
    schema = shard_schema(fields)
    if not reader.schema.equals(schema):
        raise DatasetError(
            f"the schema of {url} is not that of the recipe (frames or columns differ): "
            f"{reader.schema.names}"
        )
    yield from reader.row_groups(schema.names)


def _tfrecord_tables(url: str, fields: Sequence[RecordField]) -> Iterator[pa.Table]:
    rows = []
    with storage.open_read(url) as file:
        try:
            for record in tfrecord.read_records(file):
                rows.append(tfrecord.decode_example(record))
                if len(rows) == ROWS_PER_GROUP:
                    yield tfrecord.rows_to_table(rows, fields)
                    rows = []
            if rows:
                yield tfrecord.rows_to_table(rows, fields)
        except tfrecord.RecordCorruptError as error:
            raise DatasetError(f"{url} is damaged: {error}") from error


_READERS: Mapping[ShardFormat, Callable[[str, Sequence[RecordField]], Iterator[pa.Table]]] = {
    ShardFormat.PARQUET: _parquet_tables,
    ShardFormat.TFRECORD: _tfrecord_tables,
}
