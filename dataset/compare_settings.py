"""How the settings, the columns and the makers of two datasets differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from singsong.dataset.handle import Dataset
from singsong.schemas.json_values import recipe_differences
from singsong.schemas.records import RecordField

_LAYOUT = ("clips_per_shard", "formats")
_COMPUTING = ("device", "dtype", "batch_clips", "encode_filter")
"""Keys of an encode recipe that say how codes are computed, or which dropped clips have any."""


def setting_differences(first: Dataset, second: Dataset) -> list[str]:
    """Returns a line for each setting and column that makes them different datasets.

    Settings that only say how codes are computed or laid out are left out: what they change in a
    dataset is compared itself.
    """
    return recipe_differences(_deciding(first), _deciding(second))


def other_differences(first: Dataset, second: Dataset) -> list[str]:
    """Returns a line for each difference that does not make them different datasets.

    These are the layout, how codes were computed, what became of the inputs, and the libraries and
    processors that made the parts and the dataset.

    Raises:
        DatasetError: The table of tracks of one of them is damaged.
        OSError: It cannot be read.
    """
    return recipe_differences(_noted(first), _noted(second))


def column_layout(column: RecordField) -> str:
    """Returns the type and shape of a column.

    >>> column_layout(RecordField(name="a", kind="codes", meaning="", shape=(500, 12)))
    'codes 500 12'
    """
    return " ".join([column.kind, *map(str, column.shape)])


def _deciding(dataset: Dataset) -> dict[str, Any]:
    recipe = {key: it for key, it in dataset.manifest.recipe.items() if key not in _LAYOUT}
    encode = {key: it for key, it in recipe["encode"].items() if key not in _COMPUTING}
    return {
        "recipe": {**recipe, "encode": encode},
        "weights": dataset.manifest.weights,
        "geometry": dataset.manifest.geometry,
        "columns": {column.name: column_layout(column) for column in dataset.fields},
    }


def _noted(dataset: Dataset) -> dict[str, Any]:
    recipe = dataset.manifest.recipe
    return {
        "recipe": {key: recipe.get(key) for key in _LAYOUT},
        "encode": {key: recipe["encode"].get(key) for key in _COMPUTING},
        "software": dataset.manifest.software,
        "counts": asdict(dataset.manifest.counts),
        "parts": _makers(dataset),
    }


def _makers(dataset: Dataset) -> Mapping[str, str]:
    """Returns the processors and the versions of each library that made the parts."""
    made = defaultdict[str, set[str]](set)
    for maker in {maker for track in dataset.tracks for maker in track.made_with}:
        for word in maker.split():
            name, _, value = word.partition("=")
            made[name].add(value)
    return {name: ", ".join(sorted(values)) for name, values in made.items()}
