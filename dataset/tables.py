"""The two tables beside the shards: what became of each track, and everything that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields as dataclass_fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.dataset.manifest import FileEntry
from singsong.dataset.parquet_files import open_parquet
from singsong.schemas.elements import DeadLetter, TrackSummary
from singsong.schemas.names import FAILURES_TABLE, TRACKS_TABLE, table_path
from singsong.schemas.outcomes import DropReason, FailureReason, Stage, TrackStatus

_COUNTS = pa.map_(pa.string(), pa.int64())
_TRACKS_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("track_id", pa.string()),
        ("status", pa.string()),
        ("part", pa.string()),
        ("audio_sha256", pa.string()),
        ("split", pa.string()),
        ("duplicate_of", pa.string()),
        ("reason", pa.string()),
        ("seconds", pa.float64()),
        ("tail_seconds", pa.float64()),
        ("kept_clips", pa.int64()),
        ("dropped_clips", _COUNTS),
        ("failed_clips", _COUNTS),
        ("made_with", pa.list_(pa.string())),
        ("cut_short", pa.bool_()),
    ]
)
_ADDED = ("made_with", "cut_short")
"""Columns that the tables of older versions do not have."""

_FAILURES_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("track_id", pa.string()),
        ("clip_index", pa.int32()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)


def write_tracks(dataset: str, tracks: Sequence[TrackSummary]) -> FileEntry:
    """Writes the table of tracks and returns its entry.

    Raises:
        OSError: The disk is full, or the dataset cannot be written.
    """
    names = [field.name for field in dataclass_fields(TrackSummary)]
    rows = [
        {**{name: getattr(track, name) for name in names}, "reason": track.reason or ""}
        for track in tracks
    ]
    table = pa.Table.from_pylist(rows, _TRACKS_SCHEMA)
    return _write_table(dataset, name=TRACKS_TABLE, table=table)


def write_failures(dataset: str, letters: Sequence[DeadLetter]) -> FileEntry:
    """Writes the table of failures and returns its entry. Raises as `write_tracks`."""
    ordered = sorted(letters, key=lambda letter: (letter.uri, letter.clip_index or 0))
    table = pa.Table.from_pylist([vars(letter) for letter in ordered], _FAILURES_SCHEMA)
    return _write_table(dataset, name=FAILURES_TABLE, table=table)


def read_tracks(url: str) -> tuple[TrackSummary, ...]:
    """Returns the rows of a table of tracks.

    Raises:
        DatasetError: The table is damaged.
        OSError: It cannot be read.
    """
    reader = open_parquet(url)
    names = [
        name for name in _TRACKS_SCHEMA.names if name in reader.schema.names or name not in _ADDED
    ]
    return tuple(_track(row) for row in reader.read(names).to_pylist())


def read_failures(url: str) -> tuple[DeadLetter, ...]:
    """Returns the rows of a table of failures. Raises as `read_tracks`."""
    return tuple(
        DeadLetter(**{**row, "stage": Stage(row["stage"]), "reason": FailureReason(row["reason"])})
        for row in open_parquet(url).read(_FAILURES_SCHEMA.names).to_pylist()
    )


def _track(row: dict[str, Any]) -> TrackSummary:
    dropped = tuple((DropReason(reason), clips) for reason, clips in row.pop("dropped_clips"))
    failed = tuple((FailureReason(reason), clips) for reason, clips in row.pop("failed_clips"))
    status, reason = TrackStatus(row.pop("status")), row.pop("reason")
    made_with = tuple(row.pop("made_with", ()))
    return TrackSummary(
        **row,
        status=status,
        reason=FailureReason(reason) if reason else None,
        dropped_clips=dropped,
        failed_clips=failed,
        made_with=made_with,
    )


def _write_table(dataset: str, *, name: str, table: pa.Table) -> FileEntry:
    with storage.spooled_file() as file:
        hashed = storage.HashingFile(file)
        pq.write_table(table, pa.PythonFile(hashed, mode="w"), compression="zstd")
        path = table_path(name=name, sha256=hashed.sha256, suffix="parquet")
        storage.put_file(storage.join(dataset, path), file)
    return FileEntry(
        path=path, rows=table.num_rows, bytes=hashed.bytes_written, sha256=hashed.sha256
    )
