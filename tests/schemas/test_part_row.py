"""A row has a value for each column of a part, and says so if a new column has no place in it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.support.code_dataset import SMALL
from singsong.schemas.outcomes import ClipStatus, FailureReason
from singsong.schemas.part_row import PartRow, stored_value
from singsong.schemas.recipe import EncodeRecipe
from singsong.schemas.records import RecordField, part_fields, record_fields

FIELDS = [
    field
    for field in part_fields(record_fields(replace(EncodeRecipe(), store_audio=True), SMALL))
    if field.kind != "codes"
]


def full_row() -> PartRow:
    """Returns a row in which no two columns share a value."""
    row = PartRow(
        clip_id="ab-000003",
        track_id="ab",
        clip_index=3,
        start_s=30.0,
        status=ClipStatus.FAILED,
        reason=FailureReason.NON_FINITE,
        message="not a number",
        codes={"vocals_acoustic": np.zeros((4, 3), np.uint16)},
    )
    for number, field in enumerate(FIELDS):
        if field.kind == "float32" and field.name != "start_s":
            row.figures[field.name] = float(100 + number)
        elif field.kind == "bytes":
            row.flac[field.name] = field.name.encode()
    return row


def test_each_column_has_the_value_of_its_name() -> None:
    row = full_row()
    values = {field.name: stored_value(row, field) for field in FIELDS}
    known = {name: values[name] for name in ("clip_id", "track_id", "clip_index", "start_s")}
    assert known == {"clip_id": "ab-000003", "track_id": "ab", "clip_index": 3, "start_s": 30.0}
    outcome = (values["status"], values["reason"], values["message"])
    assert outcome == ("failed", "non_finite", "not a number")
    assert {**known, **row.figures, **row.flac}.items() <= values.items()
    assert len({str(value) for value in values.values()}) == len(FIELDS)
    assert None not in values.values()


def test_what_a_row_lacks_is_null_and_no_reason_is_empty() -> None:
    row = PartRow(clip_id="ab-000000", track_id="ab", clip_index=0, start_s=0.0)
    values = {field.name: stored_value(row, field) for field in FIELDS}
    assert (values["status"], values["reason"], values["message"]) == ("encoded", "", "")
    kinds = {field.name: field.kind for field in FIELDS}
    nulls = {name for name, value in values.items() if value is None}
    assert nulls == {name for name in kinds if kinds[name] in ("float32", "bytes")} - {"start_s"}


def test_a_column_that_rows_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="have no artist: add it to PartRow"):
        stored_value(full_row(), RecordField(name="artist", kind="string", meaning="who sings"))
