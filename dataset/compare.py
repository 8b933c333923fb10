"""Compares two datasets by meaning, clip by clip.

Datasets that mean the same may have different digests: the version of pyarrow decides the bytes of
a Parquet shard, and a processor of another type rounds differently, which changes a code here and
there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from singsong.dataset.clip_pairs import ClipRow, clip_pairs
from singsong.dataset.compare_settings import (
    column_layout,
    other_differences,
    setting_differences,
)
from singsong.dataset.handle import Dataset
from singsong.schemas.extras import extra_needed

_FLAC_TOLERANCE = 1.5 / 32768
"""One step of 16 bits, by which rounding may change stored audio."""


@dataclass(kw_only=True)
class ColumnDifference:
    """How one column differs, over the clips that both datasets hold.

    Attributes:
        kind: As `RecordField.kind`.
        values: Values that were compared: codes, or one for each clip.
        differing: How many of them differ.
        clips: In how many clips.
        largest: Largest difference of figures, in the unit of the column, or of stored audio, of
            which 1.0 is full scale; 0 for other columns.
        example: The first clip that differs; empty if none does.
    """

    kind: str
    values: int = 0
    differing: int = 0
    clips: int = 0
    largest: float = 0.0
    example: str = ""

    @property
    def share(self) -> float:
        """Share of the values that differ, from 0 to 1."""
        return self.differing / self.values if self.values else 0.0


@dataclass(kw_only=True)
class Missing:
    """The clips that one of two datasets lacks, or has in another split.

    Attributes:
        clips: How many.
        example: The first of them; empty if there is none.
        tracks: The split of each of their tracks in the other dataset.
    """

    clips: int = 0
    example: str = ""
    tracks: dict[str, str] = field(default_factory=dict)

    def add(self, clip_id: str, split: str) -> None:
        """Counts a clip."""
        self.clips += 1
        self.example = self.example or clip_id
        self.tracks[clip_id.rpartition("-")[0]] = split


@dataclass(kw_only=True)
class Comparison:
    """How two datasets differ.

    Attributes:
        clips: How many clips both hold, in the same split.
        only_first: The clips that the second one lacks there.
        only_second: The clips that the first one lacks there.
        columns: The columns that both have, by name.
        differences: A line for each setting and column that makes them different datasets.
        notes: A line for each difference of layout, device, software and counts, which does not;
            see `other_differences`.
    """

    clips: int = 0
    only_first: Missing = field(default_factory=Missing)
    only_second: Missing = field(default_factory=Missing)
    columns: Mapping[str, ColumnDifference]
    differences: Sequence[str]
    notes: Sequence[str]

    @property
    def moved_tracks(self) -> int:
        """Number of tracks that are in another split in the second dataset."""
        splits = self.only_first.tracks
        return sum(
            splits.get(track, split) != split for track, split in self.only_second.tracks.items()
        )

    def is_equal(self, *, code_tolerance: float = 0.0) -> bool:
        """Returns whether the datasets mean the same.

        Args:
            code_tolerance: Share of the codes of a column that may differ.
        """
        if self.differences or self.only_first.clips or self.only_second.clips:
            return False
        return all(
            column.share <= (code_tolerance if column.kind == "codes" else 0)
            for column in self.columns.values()
        )


def compare_datasets(
    first: Dataset,
    second: Dataset,
    *,
    tolerance: float,
    on_shard: Callable[[], object] = lambda: None,
) -> Comparison:
    """Returns how two datasets differ; clips are matched by id within a split.

    Memory holds what `clip_pairs` says, both tables of tracks, and the name of each track of which
    a clip is missing.

    Args:
        first: A version of a dataset.
        second: A version of the same or another one.
        tolerance: By how much a figure may differ, in the unit of its column.
        on_shard: Called after each shard of either.

    Raises:
        ValueError: The tolerance is negative or NaN.
        DatasetError: As `clip_pairs` says.
        OSError: A shard cannot be read.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be 0 or more, found {tolerance}")
    found = Comparison(
        columns=_common_columns(first, second),
        differences=setting_differences(first, second),
        notes=other_differences(first, second),
    )
    for split in dict.fromkeys([*first.manifest.splits, *second.manifest.splits]):
        for ours, theirs in clip_pairs(first, second, split, on_shard=on_shard):
            if ours is not None and theirs is not None:
                found.clips += 1
                _compare_clip(ours, theirs, found.columns, tolerance=tolerance)
            elif ours is not None:
                found.only_first.add(ours.clip_id, split)
            elif theirs is not None:
                found.only_second.add(theirs.clip_id, split)
    return found


def describe_comparison(found: Comparison, first: str, second: str) -> list[str]:
    """Returns a line for each difference, those that do not count last.

    Args:
        found: What `compare_datasets` returned.
        first: Name of the first dataset.
        second: Name of the second.
    """
    lines = [*found.differences]
    for name, missing in ((first, found.only_first), (second, found.only_second)):
        if missing.clips:
            lines.append(f"{_clips(missing.clips)} only in {name}, the first {missing.example}")
    if found.moved_tracks:
        lines.append(f"{found.moved_tracks} of their tracks are in another split")
    for name, column in found.columns.items():
        if column.differing:
            lines.append(f"{name}: {_describe_column(column)}, the first {column.example}")
    return [*lines, *(f"not counted: {note}" for note in found.notes)]


def _describe_column(column: ColumnDifference) -> str:
    if column.kind == "codes":
        return (
            f"{column.differing} of {column.values} codes differ ({column.share:.2%}), "
            f"in {_clips(column.clips)}"
        )
    by = f", by {column.largest:.3g} at the most" if column.largest else ""
    return f"{column.differing} of {_clips(column.values)} differ{by}"


def _clips(count: int) -> str:
    return "1 clip" if count == 1 else f"{count} clips"


def _compare_clip(
    ours: ClipRow,
    theirs: ClipRow,
    columns: Mapping[str, ColumnDifference],
    *,
    tolerance: float,
) -> None:
    for name, column in columns.items():
        values, differing, largest = _compare_values(
            ours.value(name), theirs.value(name), kind=column.kind, tolerance=tolerance
        )
        column.values += values
        column.differing += differing
        column.largest = max(column.largest, largest)
        if differing:
            column.clips += 1
            column.example = column.example or ours.clip_id


def _compare_values(
    ours: Any, theirs: Any, *, kind: str, tolerance: float
) -> tuple[int, int, float]:
    """Returns how many values there are, how many differ, and the largest difference."""
    if kind == "codes":
        return ours.size, int(np.count_nonzero(ours != theirs)), 0.0
    if ours is None or theirs is None or kind not in ("float32", "bytes"):
        return 1, int(ours != theirs), 0.0
    if kind == "bytes":
        largest, tolerance = _audio_difference(ours, theirs), _FLAC_TOLERANCE
    else:
        largest = _figure_difference(ours, theirs)
    return 1, int(largest > tolerance), largest


def _figure_difference(ours: float, theirs: float) -> float:
    """Returns the distance of two figures: none between equal infinities or two NaN."""
    if ours == theirs or (math.isnan(ours) and math.isnan(theirs)):
        return 0.0
    distance = abs(ours - theirs)
    return math.inf if math.isnan(distance) else distance


def _audio_difference(ours: bytes, theirs: bytes) -> float:
    """Returns the largest difference of a sample; another length is infinitely far."""
    if ours == theirs:
        return 0.0
    with extra_needed("prepare", by="comparing stored audio"):
        from singsong.audio.sound_files import read_flac_bytes
    left, right = read_flac_bytes(ours), read_flac_bytes(theirs)
    return float(np.abs(left - right).max(initial=0)) if left.shape == right.shape else math.inf


def _common_columns(first: Dataset, second: Dataset) -> dict[str, ColumnDifference]:
    theirs = {one.name: column_layout(one) for one in second.fields}
    return {
        ours.name: ColumnDifference(kind=ours.kind)
        for ours in first.fields
        if theirs.get(ours.name) == column_layout(ours)
    }
