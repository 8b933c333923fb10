"""Part files: every clip of one track, kept or not, and facts about the track."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.audio.loudness import drop_reason
from singsong.dataset.manifest import DatasetError
from singsong.dataset.parquet_files import ParquetReader, open_parquet
from singsong.schemas.outcomes import ClipStatus, DropReason, FailureReason
from singsong.schemas.recipe import LoudnessFilter
from singsong.schemas.records import RecordField, part_fields, part_schema

_FACTS_KEY = "singsong.track"
_ROWS_PER_GROUP = 64
_LIGHT_COLUMNS = ("clip_id", "clip_index", "status", "reason", "message")
_LOUDNESS_COLUMNS = ("vocals_peak_rms_db", "instrumental_peak_rms_db")


@dataclass(frozen=True, kw_only=True)
class TrackFacts:
    """Facts about a track, known once it is decoded.

    Attributes:
        track_id: Hex sha256 of the file's bytes.
        audio_sha256: Hex digest of the decoded audio.
        seconds: Its length.
        tail_seconds: Length of the rest that fills no clip.
    """

    track_id: str
    audio_sha256: str
    seconds: float
    tail_seconds: float


@dataclass(frozen=True, kw_only=True)
class ClipFailure:
    """A clip that failed.

    Attributes:
        clip_index: Which clip of the track.
        reason: Why.
        message: One sentence for a person.
    """

    clip_index: int
    reason: FailureReason
    message: str


@dataclass(frozen=True, kw_only=True)
class PartDecisions:
    """What a filter makes of a part, clip by clip.

    Attributes:
        facts: The track.
        kept: Positions in the part of the rows to keep.
        dropped: Reason and number of the dropped clips.
        failures: The failed clips.
    """

    facts: TrackFacts
    kept: tuple[int, ...]
    dropped: tuple[tuple[DropReason, int], ...]
    failures: tuple[ClipFailure, ...]


@dataclass(frozen=True, kw_only=True)
class PartPreview:
    """What another filter would make of a part, in numbers of clips.

    Attributes:
        kept: Kept clips.
        dropped: Dropped clips, by reason.
        failed: Failed clips, by reason.
        without_codes: How many of the kept clips have no codes yet.
    """

    kept: int
    dropped: Mapping[DropReason, int]
    failed: Mapping[FailureReason, int]
    without_codes: int


class MissingCodesError(Exception):
    """The filter keeps a clip for which the part has no codes."""


class BrokenPartError(Exception):
    """A part file is damaged."""


def rows_to_table(rows: Sequence[Mapping[str, Any]], fields: Sequence[RecordField]) -> pa.Table:
    """Returns rows of a part as an Arrow table.

    Args:
        rows: By column; codes are uint16 arrays of the field's shape, or missing.
        fields: The record table.

    Raises:
        ValueError: Codes have another shape than the field says.
    """
    columns = [
        _codes_column([row.get(field.name) for row in rows], field)
        if field.kind == "codes"
        else pa.array([row.get(field.name) for row in rows], field.part_arrow_type)
        for field in part_fields(fields)
    ]
    return pa.Table.from_arrays(columns, schema=part_schema(fields))


def _codes_column(values: Sequence[npt.NDArray[np.uint16] | None], field: RecordField) -> pa.Array:
    for value in values:
        if value is not None and value.shape != field.shape:
            raise ValueError(f"{field.name} must be {field.shape}, found {value.shape}")
    codes = [value.reshape(-1) for value in values if value is not None]
    lengths = [0 if value is None else value.size for value in values]
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()),
        pa.array(np.concatenate(codes) if codes else [], pa.uint16()),
        type=field.part_arrow_type,
        mask=pa.array([value is None for value in values], pa.bool_()),
    )


def write_part(
    url: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    fields: Sequence[RecordField],
    facts: Callable[[], TrackFacts],
) -> None:
    """Writes a part, whole or not at all, a row group at a time.

    Args:
        url: The target.
        rows: The clips in their order; consumed once.
        fields: The record table.
        facts: Called when the rows are exhausted; describes the track.

    Raises:
        OSError: The disk is full, or the target cannot be written.
        ClipError: Raised by `rows`; nothing is written then.
    """
    with storage.spooled_file() as file:
        with pq.ParquetWriter(file, part_schema(fields), compression="zstd") as writer:
            for group in _groups(rows, _ROWS_PER_GROUP):
                writer.write_table(rows_to_table(group, fields))
            writer.add_key_value_metadata({_FACTS_KEY: json.dumps(asdict(facts()))})
        storage.put_file(url, file)


def _groups(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    group: list[Mapping[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def read_facts(part: ParquetReader) -> TrackFacts:
    """Returns what an open part says about its track.

    Raises:
        DatasetError: The file is not a part.
    """
    text = (part.metadata.metadata or {}).get(_FACTS_KEY.encode())
    if text is None:
        raise DatasetError(f"{part.name} is not a part file: it does not describe a track")
    return TrackFacts(**json.loads(text))


def decide(url: str, *, dataset_filter: LoudnessFilter, separated: bool) -> PartDecisions:
    """Returns what a filter makes of a part; only its small columns are read.

    Args:
        url: The part.
        dataset_filter: The thresholds.
        separated: Whether the part has vocals and instrumental to decide on.

    Raises:
        MissingCodesError: The filter keeps a clip that was not encoded.
        BrokenPartError: The file is not a part, or is damaged.
        OSError: The part cannot be read.
    """
    loudness = _LOUDNESS_COLUMNS if separated else ()
    try:
        part = open_parquet(url)
        facts = read_facts(part)
        rows = part.read([*_LIGHT_COLUMNS, *loudness]).to_pylist()
    except (DatasetError, ValueError) as error:
        raise BrokenPartError(f"{error}: delete it and run the same command again") from error
    kept, dropped, failures = [], Counter[DropReason](), []
    for position, row in enumerate(rows):
        if row["status"] == ClipStatus.FAILED:
            failures.append(_failure(row))
            continue
        reason = _reason(row, dataset_filter) if separated else None
        if reason is not None:
            dropped[reason] += 1
        elif row["status"] == ClipStatus.ENCODED:
            kept.append(position)
        else:
            raise MissingCodesError(f"{row['clip_id']} is kept by the filter and has no codes")
    return PartDecisions(
        facts=facts,
        kept=tuple(kept),
        dropped=tuple(sorted(dropped.items())),
        failures=tuple(failures),
    )


def _failure(row: Mapping[str, Any]) -> ClipFailure:
    return ClipFailure(
        clip_index=row["clip_index"], reason=FailureReason(row["reason"]), message=row["message"]
    )


def preview_part(url: str, wanted: LoudnessFilter) -> PartPreview:
    """Returns what another filter would make of a part.

    Args:
        url: The part.
        wanted: The thresholds.

    Raises:
        DatasetError: The part is damaged.
        OSError: It cannot be read.
    """
    rows = open_parquet(url).read([*_LIGHT_COLUMNS, *_LOUDNESS_COLUMNS]).to_pylist()
    usable = [row for row in rows if row["status"] != ClipStatus.FAILED]
    reasons = [_reason(row, wanted) for row in usable]
    kept = [row for row, reason in zip(usable, reasons, strict=True) if reason is None]
    return PartPreview(
        kept=len(kept),
        dropped=Counter(reason for reason in reasons if reason is not None),
        failed=Counter(
            FailureReason(row["reason"]) for row in rows if row["status"] == ClipStatus.FAILED
        ),
        without_codes=sum(row["status"] != ClipStatus.ENCODED for row in kept),
    )


def has_failed_clips(url: str) -> bool:
    """Returns whether a clip of a part failed.

    Raises:
        DatasetError: The part is damaged.
        OSError: It cannot be read.
    """
    return ClipStatus.FAILED in open_parquet(url).read(["status"])["status"].to_pylist()


def _reason(row: Mapping[str, Any], dataset_filter: LoudnessFilter) -> DropReason | None:
    return drop_reason(
        vocals_db=row["vocals_peak_rms_db"],
        instrumental_db=row["instrumental_peak_rms_db"],
        loudness_filter=dataset_filter,
    )


def read_rows(url: str, kept: Sequence[int], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields some columns of the kept rows of a part, a row group at a time.

    Args:
        url: The part.
        kept: Positions of the rows.
        columns: Which columns.

    Raises:
        DatasetError: The part is damaged.
        OSError: It cannot be read.
    """
    wanted, start = np.asarray(kept), 0
    part = open_parquet(url)
    for group, rows in enumerate(part.row_group_sizes):
        inside = wanted[(wanted >= start) & (wanted < start + rows)] - start
        if len(inside):
            yield part.row_group(group, columns).take(inside)
        start += rows
