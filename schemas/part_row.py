"""The row of a clip in a part file."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from singsong.schemas.arrays import CodeArray
from singsong.schemas.outcomes import ClipStatus, DropReason, FailureReason
from singsong.schemas.records import RecordField


@dataclass(kw_only=True)
class PartRow:
    """What is stored of a clip; it is filled in step by step while its track is encoded.

    Attributes:
        clip_id: Id of the clip: track and index.
        track_id: Hex sha256 of the track's file.
        clip_index: Position of the clip in the track.
        start_s: Start of the clip in the track.
        status: Whether it is encoded, dropped or failed.
        reason: Why it was dropped or failed; None if it is encoded.
        message: The failure in words; empty if it did not fail.
        figures: What was measured, by column.
        codes: uint16 codes of the field's shape, by column; empty unless it is encoded.
        flac: Stored audio, by column; empty unless it is encoded and the recipe stores audio.
    """

    clip_id: str
    track_id: str
    clip_index: int
    start_s: float
    status: ClipStatus = ClipStatus.ENCODED
    reason: DropReason | FailureReason | None = None
    message: str = ""
    figures: dict[str, float] = dataclasses.field(default_factory=dict)
    codes: dict[str, CodeArray] = dataclasses.field(default_factory=dict)
    flac: dict[str, bytes] = dataclasses.field(default_factory=dict)


def stored_value(row: PartRow, field: RecordField) -> str | int | float | bytes | None:
    """Returns the value of a row in a column of a part, None if the row lacks it.

    Args:
        row: The row.
        field: The column; one of codes is in `PartRow.codes` instead.

    Raises:
        ValueError: Rows have no such column.

    >>> row = PartRow(clip_id="a-0", track_id="a", clip_index=0, start_s=0.0)
    >>> stored_value(row, RecordField(name="reason", kind="string", meaning="why"))
    ''
    >>> stored_value(row, RecordField(name="mix_peak_rms_db", kind="float32", meaning="level"))
    """
    name = field.name
    known: dict[str, str | int | float] = {
        "clip_id": row.clip_id,
        "track_id": row.track_id,
        "clip_index": row.clip_index,
        "start_s": row.start_s,
        "status": row.status,
        "reason": row.reason or "",
        "message": row.message,
    }
    if name in known:
        return known[name]
    if field.kind == "float32":
        return row.figures.get(name)
    if field.kind == "bytes":
        return row.flac.get(name)
    raise ValueError(f"rows of a part have no {name}: add it to PartRow and to stored_value")
