"""What a filter makes of a part: which clips are kept, dropped or failed, and which lack codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from singsong.audio.loudness import drop_reason
from singsong.dataset.manifest import DatasetError
from singsong.dataset.part_files import TrackFacts, open_part
from singsong.schemas.outcomes import ClipStatus, DropReason, FailureReason
from singsong.schemas.recipe import LoudnessFilter

_LIGHT_COLUMNS = ("clip_index", "status", "reason", "message")
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
class _StoredClip:
    """What decisions are taken on: a row of a part without its codes."""

    clip_index: int
    status: ClipStatus
    failure: ClipFailure | None
    levels: Mapping[str, float]


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


def row_drop_reason(
    figures: Mapping[str, float], loudness_filter: LoudnessFilter
) -> DropReason | None:
    """Returns why a filter drops a row of a part, or None if it keeps it.

    This is the only decision that there is. It is taken on the stored values, float32, even for a
    row that is not stored yet; so a clip cannot be left without codes here and be kept later.

    Args:
        figures: By column; the peak RMS of vocals and instrumental, dBFS, are among them.
        loudness_filter: The thresholds.

    Paper: 4.2.
    """
    vocals_db, instrumental_db = (float(np.float32(figures[name])) for name in _LOUDNESS_COLUMNS)
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
        BrokenPartError: The file is not a part, is damaged, lacks a row for a clip, or has a
            row with an unknown status or reason, or without a level.
        OSError: The part cannot be read.
    """
    loudness = _LOUDNESS_COLUMNS if separated else ()
    try:
        with open_part(url) as part:
            facts = part.facts
            clips = _stored_clips(part.reader.read([*_LIGHT_COLUMNS, *loudness]), loudness)
    except DatasetError as error:
        raise BrokenPartError(str(error)) from error
    except ValueError as error:
        raise BrokenPartError(f"{url} is damaged: {error}") from error
    if [clip.clip_index for clip in clips] != list(range(facts.clips)):
        raise BrokenPartError(
            f"{url} is damaged: {facts.samples} samples make {facts.clips} clips, "
            f"and it has {len(clips)} rows"
        )
    return _decisions(facts, clips, dataset_filter if separated else None)


def _stored_clips(table: pa.Table, loudness: Sequence[str]) -> list[_StoredClip]:
    clips = []
    for row in table.to_pylist():
        index, status, failure = row["clip_index"], ClipStatus(row["status"]), None
        levels = {name: row[name] for name in loudness if row[name] is not None}
        if status is ClipStatus.FAILED:
            reason = FailureReason(row["reason"])
            failure = ClipFailure(clip_index=index, reason=reason, message=row["message"])
        elif len(levels) < len(loudness):
            raise ValueError(f"clip {index} is {status} and lacks a level")
        clips.append(_StoredClip(clip_index=index, status=status, failure=failure, levels=levels))
    return clips


def _decisions(
    facts: TrackFacts, clips: Sequence[_StoredClip], loudness_filter: LoudnessFilter | None
) -> PartDecisions:
    kept, without_codes, failures = list[int](), list[int](), list[ClipFailure]()
    dropped = Counter[DropReason]()
    for position, clip in enumerate(clips):
        if clip.failure is not None:
            failures.append(clip.failure)
            continue
        reason = None if loudness_filter is None else row_drop_reason(clip.levels, loudness_filter)
        if reason is not None:
            dropped[reason] += 1
        elif clip.status is ClipStatus.ENCODED:
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
