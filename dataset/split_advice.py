"""Splits for small libraries: tracks are drawn by content, so a small split may get none."""

from __future__ import annotations

from singsong.dataset.handle import Dataset
from singsong.schemas.names import split_of

_SHARES = (2, 5, 10, 15, 20, 25, 30, 33)
"""Per cent that each split but the first may get."""


def empty_splits(dataset: Dataset) -> list[str]:
    """Returns the splits that should have clips and have none."""
    splits = dataset.manifest.splits
    return [name for name, weight in dataset.recipe.splits if weight and not splits[name].clips]


def filling_splits(dataset: Dataset) -> tuple[tuple[str, float], ...] | None:
    """Returns weights with which each split gets a clip, or None if there are none.

    The first split keeps as much as possible.

    Raises:
        DatasetError: The table of tracks is damaged.
    """
    names = [name for name, weight in dataset.recipe.splits if weight]
    recordings = {track.audio_sha256 for track in dataset.tracks if track.kept_clips}
    for share in _SHARES:
        first = 100.0 - share * (len(names) - 1)
        if first < share:
            break
        splits = tuple((name, first if not at else float(share)) for at, name in enumerate(names))
        filled = {split_of(recording, splits) for recording in recordings}
        if filled == set(names):
            return splits
    return None
