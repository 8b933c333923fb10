"""Reads row groups of Parquet shards; a shard is checked against the manifest when it is opened."""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from singsong import storage
from singsong.dataset.clips import column_values
from singsong.dataset.manifest import DatasetError, ShardEntry
from singsong.dataset.parquet_files import (
    ParquetReader,
    fetch_whole,
    open_parquet,
    parquet_in_memory,
)
from singsong.schemas.records import ROWS_PER_GROUP, RecordField

Rows = Mapping[str, Any]
"""Columns of some records: codes as uint16 [rows, *shape], other fields as lists."""


class ShardReader:
    """Reads row groups of the shards of a split, from any number of threads.

    A local shard is read in place. A remote one is read whole: into memory until it is dropped, or
    once and for all into a folder. Each page is checked against its CRC whenever it is read. The
    sha256 of a shard is checked before anything else when it is fetched; that of a local file is
    checked in the background when `begin_checks` says so, and `check` waits for it.

    Args:
        dataset: Folder or URL.
        shards: The shards of the split.
        fields: The fields to read.
        cache: A local folder for remote shards; None keeps those in use in memory.
        verified: The shards on this machine that need no check any more; it is added to.
    """

    def __init__(
        self,
        dataset: str,
        shards: Sequence[ShardEntry],
        *,
        fields: Sequence[RecordField],
        cache: str | None,
        verified: set[int],
    ) -> None:
        self._dataset, self._shards, self._fields, self._cache = dataset, shards, fields, cache
        self._locks = [threading.Lock() for _ in shards]
        self._open: dict[int, _OpenShard] = {}
        self._verified = verified
        self._checks: dict[int, Future[None]] = {}
        self._checker = ThreadPoolExecutor(1)

    def read(self, shard: int, group: int) -> Rows:
        """Returns the records of a row group.

        Args:
            shard: Index in the list of shards.
            group: Number of the row group.

        Raises:
            DatasetError: The shard is missing, damaged, or not what the recipe says.
        """
        with self._locks[shard]:
            if shard not in self._open:
                self._open[shard] = self._opened(shard)
            opened = self._open[shard]
        return opened.read(group)

    def begin_checks(self, shards: Iterable[int]) -> None:
        """Begins to check these shards, of which something was read, unless they were checked."""
        for shard in set(shards) - self._verified - self._checks.keys():
            name, entry = self._open[shard].name, self._shards[shard]
            self._checks[shard] = self._checker.submit(_check_file, name, entry)

    def check(self, shards: Iterable[int]) -> None:
        """Waits until the sha256 of these shards is known to be right, if its check was begun.

        Raises:
            DatasetError: A shard is damaged.
        """
        for shard in shards:
            if shard in self._checks:
                self._checks[shard].result()
                self._verified.add(shard)
                del self._checks[shard]

    def keep(self, shards: Iterable[int]) -> None:
        """Closes all shards but these."""
        for shard in self._open.keys() - set(shards):
            with self._locks[shard]:
                del self._open[shard]

    def close(self) -> None:
        """Ends the checks."""
        self._checker.shutdown(cancel_futures=True)

    def _opened(self, shard: int) -> _OpenShard:
        entry = self._shards[shard]
        url = storage.join(self._dataset, entry.path)
        try:
            if not storage.is_local(url) and self._cache is None:
                data = fetch_whole(url, entry.bytes)
                _check(url, entry, hashlib.sha256(data).hexdigest())
                self._verified.add(shard)
                return _OpenShard(parquet_in_memory(url, data), entry, self._fields)
            path = storage.local_path(url)
            if not storage.is_local(url):
                path = _downloaded(url, entry, str(self._cache))
            return _OpenShard(open_parquet(path), entry, self._fields)
        except FileNotFoundError:
            raise DatasetError(f"{url} is missing: the manifest lists it") from None


class _OpenShard:
    def __init__(
        self, reader: ParquetReader, entry: ShardEntry, fields: Sequence[RecordField]
    ) -> None:
        self._reader, self._fields = reader, fields
        self.name = reader.name
        self._columns = [field.name for field in fields]
        found = reader.row_group_sizes
        whole, rest = divmod(entry.rows, ROWS_PER_GROUP)
        wanted = [ROWS_PER_GROUP] * whole + [rest] * (rest > 0)
        if found != wanted:
            raise DatasetError(
                f"{self.name} has row groups of {found} rows, its {entry.rows} rows need {wanted}"
            )
        schema = reader.schema
        for field in fields:
            kind = schema.field(field.name).type if field.name in schema.names else "missing"
            if kind != field.arrow_type:
                raise DatasetError(f"{self.name}: {field.name} is {kind}, not {field.arrow_type}")

    def read(self, group: int) -> Rows:
        table = self._reader.row_group(group, self._columns)
        return {field.name: column_values(table, field) for field in self._fields}


def _downloaded(url: str, entry: ShardEntry, cache: str) -> str:
    """Returns the checked local copy of a shard; the processes of a machine download it once."""
    path = Path(cache) / f"{entry.sha256}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            partial = path.with_suffix(".partial")
            with storage.open_read(url) as source:
                storage.put_file(str(partial), source)
            _check(url, entry, storage.sha256_of(str(partial))[0])
            partial.rename(path)
        path.with_suffix(".lock").unlink(missing_ok=True)
    return str(path)


def _check_file(path: str, entry: ShardEntry) -> None:
    _check(path, entry, storage.sha256_of(path)[0])


def _check(name: str, entry: ShardEntry, sha256: str) -> None:
    if sha256 != entry.sha256:
        raise DatasetError(
            f"{name} is damaged: it has sha256 {sha256[:12]}, "
            f"the manifest says {entry.sha256[:12]} of {entry.path}"
        )
