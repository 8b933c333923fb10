"""Part files: every clip of one track, kept or not, with what is known of the track."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.audio.loudness import drop_reason
from singsong.schemas.recipe import LoudnessFilter
from singsong.schemas.records import ENCODED, FAILED, RecordField, part_fields, part_schema

_FACTS_KEY = "singsong.track"
_ROWS_PER_GROUP = 64
_LIGHT_COLUMNS = ("clip_id", "clip_index", "status", "reason", "message")


@dataclass(frozen=True, kw_only=True)
class TrackFacts:
    """What is known of a track once it was decoded.

    Attributes:
        track_id: Hex sha256 of the file's bytes.
        audio_sha256: Hex digest of the decoded audio.
        seconds: Its length.
        tail_seconds: What did not fill a clip.
    """

    track_id: str
    audio_sha256: str
    seconds: float
    tail_seconds: float


@dataclass(frozen=True, kw_only=True)
class PartDecisions:
    """What a filter makes of a part, clip by clip.

    Attributes:
        facts: The track.
        kept: Positions in the part of the rows to keep.
        dropped: Reason and number of the dropped clips.
        failures: Clip index, reason and message of each failed clip.
    """

    facts: TrackFacts
    kept: tuple[int, ...]
    dropped: tuple[tuple[str, int], ...]
    failures: tuple[tuple[int, str, str], ...]


class MissingCodesError(Exception):
    """A clip is to be kept, but its part holds no codes for it."""


class BrokenPartError(Exception):
    """A part file is not one any more."""


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
    facts: Any,
) -> None:
    """Writes a part, whole or not at all, a row group at a time.

    Args:
        url: Where to.
        rows: The clips in their order; consumed once.
        fields: The record table.
        facts: Called when the rows are exhausted; returns the `TrackFacts`.

    Raises:
        OSError: The disk is full, or the place cannot be written.
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


def read_facts(part: pq.ParquetFile) -> TrackFacts:
    """Returns what an open part says of its track.

    Raises:
        ValueError: The file is not a part.
    """
    text = (part.metadata.metadata or {}).get(_FACTS_KEY.encode())
    if text is None:
        raise ValueError("not a part file: it says nothing of its track")
    return TrackFacts(**json.loads(text))


def decide(url: str, *, dataset_filter: LoudnessFilter, separated: bool) -> PartDecisions:
    """Returns what a filter makes of a part; only its small columns are read.

    Args:
        url: The part.
        dataset_filter: The thresholds.
        separated: Whether the part has vocals and instrumental to decide on.

    Raises:
        MissingCodesError: The filter keeps a clip that was not encoded.
        BrokenPartError: The file is no part, or is damaged.
        OSError: The part cannot be read.
    """
    loudness = ("vocals_peak_rms_db", "instrumental_peak_rms_db") if separated else ()
    with storage.open_read(url) as file:
        try:
            part = pq.ParquetFile(file)
            facts = read_facts(part)
            rows = part.read(columns=[*_LIGHT_COLUMNS, *loudness]).to_pylist()
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise BrokenPartError(
                f"{url} cannot be read ({error}): delete it and run the same command again"
            ) from error
    kept, dropped, failures = [], Counter[str](), []
    for position, row in enumerate(rows):
        if row["status"] == FAILED:
            failures.append((row["clip_index"], row["reason"], row["message"]))
            continue
        reason = _reason(row, dataset_filter) if separated else None
        if reason is not None:
            dropped[reason] += 1
        elif row["status"] == ENCODED:
            kept.append(position)
        else:
            raise MissingCodesError(f"{row['clip_id']} is kept by the filter and has no codes")
    return PartDecisions(
        facts=facts,
        kept=tuple(kept),
        dropped=tuple(sorted(dropped.items())),
        failures=tuple(failures),
    )


def read_loudness(url: str, wanted: LoudnessFilter) -> tuple[Counter[str], int]:
    """Returns what a filter would make of a part, and how many clips it keeps have no codes.

    Args:
        url: The part.
        wanted: The thresholds.

    Returns:
        Number of clips as "kept", "dropped: <reason>" or "failed: <reason>", and the number.

    Raises:
        OSError: The part cannot be read.
    """
    columns = [*_LIGHT_COLUMNS, "vocals_peak_rms_db", "instrumental_peak_rms_db"]
    outcomes, without_codes = Counter[str](), 0
    with storage.open_read(url) as file:
        rows = pq.read_table(file, columns=columns).to_pylist()
    for row in rows:
        if row["status"] == FAILED:
            outcomes[f"failed: {row['reason']}"] += 1
            continue
        reason = _reason(row, wanted)
        outcomes[f"dropped: {reason}" if reason else "kept"] += 1
        without_codes += reason is None and row["status"] != ENCODED
    return outcomes, without_codes


def has_failed_clips(url: str) -> bool:
    """Returns whether a clip of a part failed.

    Raises:
        OSError: The part cannot be read.
    """
    with storage.open_read(url) as file:
        return FAILED in pq.read_table(file, columns=["status"])["status"].to_pylist()


def _reason(row: Mapping[str, Any], dataset_filter: LoudnessFilter) -> str | None:
    return drop_reason(
        vocals_db=row["vocals_peak_rms_db"],
        instrumental_db=row["instrumental_peak_rms_db"],
        loudness_filter=dataset_filter,
    )


def read_rows(url: str, kept: Sequence[int], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields the kept rows of a part, a row group at a time.

    Raises:
        OSError: The part cannot be read.
    """
    wanted = np.asarray(kept)
    with storage.open_read(url) as file:
        part = pq.ParquetFile(file)
        start = 0
        for group in range(part.num_row_groups):
            rows = part.metadata.row_group(group).num_rows
            inside = wanted[(wanted >= start) & (wanted < start + rows)] - start
            if len(inside):
                yield part.read_row_group(group, columns=list(columns)).take(inside)
            start += rows
