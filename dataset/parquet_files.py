"""The one place that opens Parquet files.

pyarrow reads native files and buffers here, never a Python file object. Its threads may drop the
last reference to a file while the interpreter shuts down, and with a Python object that aborts the
process after all work is done (apache/arrow issues 34314 and 50482).

A local file is read in place. Of a remote one, only the footer and the column chunks that are asked
for are fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.dataset.manifest import DatasetError

_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 20
"""A remote file of this size is fetched whole: one request costs less than two."""
_FOOTER_BYTES = 64 << 10
_TAIL_BYTES = 8
_GAP_BYTES = 64 << 10
"""Ranges that lie closer together are fetched by one request."""

Range = tuple[int, int]
"""First byte and end."""


class _Source(Protocol):
    """Gives pyarrow a native file in which at least the asked ranges are filled."""

    def footer(self) -> pa.NativeFile: ...
    def with_ranges(self, ranges: Sequence[Range]) -> pa.NativeFile: ...


class ParquetReader:
    """Reads row groups of one Parquet file, from any number of threads.

    Each page that has a checksum is verified whenever it is read.

    Attributes:
        name: The path or URL, for messages.
        metadata: pyarrow's metadata of the file.
        schema: The columns.

    Raises:
        DatasetError: The file is damaged.
        OSError: The file cannot be read.
    """

    def __init__(self, name: str, source: _Source) -> None:
        self.name, self._source = name, source
        footer = source.footer()
        with self._damage():
            self.metadata = pq.read_metadata(footer)
            self.schema: pa.Schema = self.metadata.schema.to_arrow_schema()

    @property
    def row_group_sizes(self) -> list[int]:
        """Number of rows in each row group."""
        groups = range(self.metadata.num_row_groups)
        return [self.metadata.row_group(group).num_rows for group in groups]

    def row_group(self, group: int, columns: Sequence[str]) -> pa.Table:
        """Returns some columns of a row group.

        Raises:
            DatasetError: The file is damaged, or lacks a column.
            OSError: The file cannot be read.
        """
        self._check_columns(columns)
        file = self._source.with_ranges(_chunk_ranges(self.metadata, group, columns))
        with self._damage():
            parquet = pq.ParquetFile(file, metadata=self.metadata, page_checksum_verification=True)
            return parquet.read_row_group(group, columns=list(columns), use_threads=False)

    def row_groups(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yields some columns of each row group in turn. Raises as `row_group`."""
        for group in range(self.metadata.num_row_groups):
            yield self.row_group(group, columns)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Returns the whole table, or some of its columns. Raises as `row_group`."""
        columns = self.schema.names if columns is None else columns
        self._check_columns(columns)
        empty = pa.schema([self.schema.field(name) for name in columns]).empty_table()
        return pa.concat_tables([empty, *self.row_groups(columns)])

    def _check_columns(self, columns: Sequence[str]) -> None:
        if missing := set(columns) - set(self.schema.names):
            raise DatasetError(f"{self.name} has no column {min(missing)}")

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{self.name} is damaged: {error}") from error


def open_parquet(url: str) -> ParquetReader:
    """Returns a reader of a local file, or of the needed ranges of a remote one.

    Raises:
        FileNotFoundError: The file does not exist.
        DatasetError: It is damaged.
        OSError: It cannot be read.
    """
    if storage.is_local(url):
        path = storage.local_path(url)
        return ParquetReader(path, _WholeFile(pa.OSFile(path)))
    size = storage.size_of(url)
    if size <= _SMALL_BYTES:
        return parquet_in_memory(url, fetch_whole(url, size))
    return ParquetReader(url, _RemoteFile(url, size))


def parquet_in_memory(name: str, data: pa.Buffer) -> ParquetReader:
    """Returns a reader of the bytes of a file. Raises as `ParquetReader`.

    Args:
        name: For messages.
        data: A buffer of pyarrow's own, as `fetch_whole` gives it.
    """
    return ParquetReader(name, _WholeFile(pa.BufferReader(data)))


def fetch_whole(url: str, size: int) -> pa.Buffer:
    """Returns the bytes of an object in a buffer of pyarrow's own.

    Args:
        url: The object.
        size: Its number of bytes.

    Raises:
        DatasetError: It has fewer bytes.
        OSError: It cannot be read.
    """
    buffer = pa.allocate_buffer(size)
    view, filled = memoryview(buffer).cast("B"), 0
    with storage.open_read(url) as file:
        while filled < size:
            chunk = file.read(min(_CHUNK_BYTES, size - filled))
            if not chunk:
                raise DatasetError(f"{url} is damaged: it has {filled} bytes, not {size}")
            view[filled : filled + len(chunk)] = chunk
            filled += len(chunk)
    return buffer


class _WholeFile:
    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file

    def footer(self) -> pa.NativeFile:
        return self._file

    def with_ranges(self, _: Sequence[Range]) -> pa.NativeFile:
        return self._file


class _RemoteFile:
    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size

    def footer(self) -> pa.NativeFile:
        start = max(0, self._size - _FOOTER_BYTES)
        (tail,) = storage.read_ranges(self._url, [(start, self._size)])
        length = int.from_bytes(tail[-_TAIL_BYTES : -_TAIL_BYTES + 4], "little") + _TAIL_BYTES
        if len(tail) < length <= self._size:
            (tail,) = storage.read_ranges(self._url, [(self._size - length, self._size)])
        return _sparse_file(len(tail), [(0, len(tail))], [tail])

    def with_ranges(self, ranges: Sequence[Range]) -> pa.NativeFile:
        merged = merge_ranges(ranges)
        return _sparse_file(self._size, merged, storage.read_ranges(self._url, merged))


def merge_ranges(ranges: Iterable[Range], gap: int = _GAP_BYTES) -> list[Range]:
    """Returns ranges that cover the given ones, joined where the gap between two is small.

    >>> merge_ranges([(50, 60), (0, 10), (12, 20)], gap=5)
    [(0, 20), (50, 60)]
    """
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _sparse_file(size: int, ranges: Sequence[Range], parts: Sequence[bytes]) -> pa.BufferReader:
    """Returns a file of which only some ranges hold anything.

    The operating system backs only the pages that are written, so that a row group of a shard of
    gigabytes takes the memory of the row group.
    """
    buffer = pa.allocate_buffer(size)
    view = memoryview(buffer).cast("B")
    for (start, end), part in zip(ranges, parts, strict=True):
        view[start:end] = part
    return pa.BufferReader(buffer)


def _chunk_ranges(metadata: pq.FileMetaData, group: int, columns: Sequence[str]) -> list[Range]:
    """Returns where the chunks of some columns lie."""
    wanted, row_group = set(columns), metadata.row_group(group)
    ranges = []
    for number in range(row_group.num_columns):
        chunk = row_group.column(number)
        if chunk.path_in_schema.partition(".")[0] in wanted:
            start = chunk.data_page_offset
            if chunk.has_dictionary_page:
                start = min(start, chunk.dictionary_page_offset)
            ranges.append((start, start + chunk.total_compressed_size))
    return ranges
