"""Rows of a part as plain columns, for tests that compare or change single values."""

from dataclasses import fields
from typing import Any

import numpy as np

from singsong.schemas.part_row import PartRow

_KNOWN = {field.name for field in fields(PartRow)} - {"figures", "codes", "flac"}


def columns_of(row: PartRow) -> dict[str, Any]:
    """Returns the values of a row by column; a column that it lacks is missing."""
    known = {name: getattr(row, name) for name in _KNOWN}
    return {**known, "reason": row.reason or "", **row.figures, **row.codes, **row.flac}


def part_row(columns: dict[str, Any]) -> PartRow:
    """Returns the row with these values by column."""
    kinds: dict[str, dict[str, Any]] = {"known": {}, "figures": {}, "codes": {}, "flac": {}}
    for name, value in columns.items():
        kinds[_kind(name, value)][name] = value
    return PartRow(**kinds.pop("known"), **kinds)


def _kind(name: str, value: Any) -> str:
    if name in _KNOWN:
        return "known"
    if isinstance(value, np.ndarray):
        return "codes"
    return "flac" if isinstance(value, bytes) else "figures"
