"""What a filter makes of a part: which clips are kept, dropped or failed, and which lack codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from singsong.audio.loudness import drop_reason
from singsong.dataset.manifest import DatasetError
from singsong.dataset.part_files import TrackFacts, open_part
from singsong.schemas.outcomes import ClipStatus, DropReason, FailureReason
from singsong.schemas.recipe import LoudnessFilter

_LIGHT_COLUMNS = ("clip_id", "clip_index", "status", "reason", "message")
_LOUDNESS_COLUMNS = ("vocals_peak_rms_db", "instrumental_peak_rms_db")


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
        kept: Positions in the part of the rows to keep that have codes.
        without_codes: Positions of the rows to keep that have none yet.
        dropped: Reason and number of the dropped clips.
        failures: The failed clips.
    """

    facts: TrackFacts
    kept: tuple[int, ...]
    without_codes: tuple[int, ...] = ()
    dropped: tuple[tuple[DropReason, int], ...] = ()
    failures: tuple[ClipFailure, ...] = ()


class MissingCodesError(Exception):
    """The filter keeps a clip for which the part has no codes."""


class BrokenPartError(DatasetError):
    """A part file is damaged, or does not have a row for each clip of its track."""


def row_drop_reason(row: Mapping[str, Any], loudness_filter: LoudnessFilter) -> DropReason | None:
    """Returns why a filter drops a row of a part, or None if it keeps it.

    This is the only decision that there is. It is taken on the stored values, float32, even for a
    row that is not stored yet; so a clip cannot be left without codes here and be kept later.

    Args:
        row: Has the peak RMS of vocals and instrumental, dBFS.
        loudness_filter: The thresholds.

    Paper: 4.2.
    """
    vocals_db, instrumental_db = (float(np.float32(row[name])) for name in _LOUDNESS_COLUMNS)
    return drop_reason(
        vocals_db=vocals_db, instrumental_db=instrumental_db, loudness_filter=loudness_filter
    )


def decide(url: str, *, dataset_filter: LoudnessFilter, separated: bool) -> PartDecisions:
    """Returns what a filter makes of a part, of which every byte is checked.

    Args:
        url: The part.
        dataset_filter: The thresholds.
        separated: Whether the part has vocals and instrumental to decide on.

    Raises:
        BrokenPartError: The file is not a part, is damaged, or lacks a row for a clip.
        OSError: The part cannot be read.
    """
    loudness = _LOUDNESS_COLUMNS if separated else ()
    try:
        with open_part(url) as part:
            facts = part.facts
            rows = part.reader.read([*_LIGHT_COLUMNS, *loudness]).to_pylist()
    except (DatasetError, ValueError) as error:
        raise BrokenPartError(str(error)) from error
    if [row["clip_index"] for row in rows] != list(range(facts.clips)):
        raise BrokenPartError(
            f"{url} is damaged: {facts.samples} samples make {facts.clips} clips, "
            f"and it has {len(rows)} rows"
        )
    return _decisions(facts, rows, dataset_filter if separated else None)


def _decisions(
    facts: TrackFacts, rows: Sequence[Mapping[str, Any]], loudness_filter: LoudnessFilter | None
) -> PartDecisions:
    kept, without_codes, failures = [], [], []
    dropped = Counter[DropReason]()
    for position, row in enumerate(rows):
        if row["status"] == ClipStatus.FAILED:
            failures.append(_failure(row))
            continue
        reason = None if loudness_filter is None else row_drop_reason(row, loudness_filter)
        if reason is not None:
            dropped[reason] += 1
        elif row["status"] == ClipStatus.ENCODED:
            kept.append(position)
        else:
            without_codes.append(position)
    return PartDecisions(
        facts=facts,
        kept=tuple(kept),
        without_codes=tuple(without_codes),
        dropped=tuple(sorted(dropped.items())),
        failures=tuple(failures),
    )


def _failure(row: Mapping[str, Any]) -> ClipFailure:
    return ClipFailure(
        clip_index=row["clip_index"], reason=FailureReason(row["reason"]), message=row["message"]
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
    with open_part(url) as part:
        for group, rows in enumerate(part.reader.row_group_sizes):
            inside = wanted[(wanted >= start) & (wanted < start + rows)] - start
            if len(inside):
                yield part.reader.row_group(group, columns).take(inside)
            start += rows
