"""What is in the output already, and whether a run may follow it. No Beam and no models."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from singsong import storage
from singsong.schemas.elements import SourceFile
from singsong.schemas.json_values import recipe_differences
from singsong.schemas.names import MANIFEST_NAME
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.recipe import DatasetRecipe, recipe_json

if TYPE_CHECKING:
    from singsong.dataset.handle import Dataset


class Existing(StrEnum):
    """What a run does with the tracks of the newest version in its output."""

    REFUSE = "refuse"
    """Nothing: a run that would drop one is refused."""
    ADD = "add"
    """It keeps them, and adds those of its inputs."""
    REPLACE = "replace"
    """It makes a version of its inputs alone; older versions stay readable."""


def newest_version(output: str) -> Dataset | None:
    """Returns the newest version of the dataset in an output; None where there is none.

    Raises:
        ValueError: Its manifest cannot be read.
        OSError: The output lies in a bucket that does not exist or may not be listed.
    """
    if not storage.exists(storage.join(output, MANIFEST_NAME)):
        storage.check_place(output)
        return None
    from singsong.dataset.handle import open_dataset
    from singsong.dataset.manifest import DatasetError

    try:
        return open_dataset(output)
    except DatasetError as error:
        raise ValueError(f"{output}: {error}") from error


def check_recipe(newest: Dataset, recipe: DatasetRecipe) -> None:
    """Checks that a run has the recipe of the newest version.

    Raises:
        ValueError: It has another one.
    """
    found = recipe_differences(newest.manifest.recipe, recipe_json(recipe))
    if found:
        raise ValueError(
            f"{newest.url} holds a dataset of another recipe ({'; '.join(found)}). "
            "Choose another --output, or pass --replace to make this its newest version"
        )


def check_encoding(newest: Dataset, encode_digest: str) -> None:
    """Checks that the parts of the newest version are those that a run would make.

    Raises:
        ValueError: They were made with other weights, or by another version of the program.
    """
    if newest.manifest.encode_digest != encode_digest:
        raise ValueError(
            f"{newest.url} was made with other model weights, or by a version of singsong that "
            "encoded differently, so its parts do not fit those of this run. Choose another "
            "--output, or run `singsong prepare ... --replace` to encode the inputs again"
        )


def check_none_missing(newest: Dataset, files: Iterable[SourceFile]) -> None:
    """Checks, by name, that a run has a file of each track of the newest version.

    Any of the files with the same bytes will do.

    Raises:
        ValueError: It lacks some.
        DatasetError: The table of tracks is damaged.
    """
    from singsong.dataset.commit import dropped_tracks_message

    uris = {file.uri for file in files}
    there = {track.track_id for track in newest.tracks if track.uri in uris}
    lost = [
        track.uri
        for track in newest.tracks
        if track.status == TrackStatus.ENCODED and track.track_id not in there
    ]
    if lost:
        raise ValueError(dropped_tracks_message(newest.url, lost))
