"""What a job leaves instead of a dataset when its result may not be committed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from singsong import storage
from singsong.dataset.counts import Counts
from singsong.dataset.manifest import Manifest
from singsong.schemas.elements import DeadLetter
from singsong.schemas.errors import SingsongError
from singsong.schemas.names import REJECTION_NAME

_MOST_LETTERS = 1000


class RejectedError(SingsongError):
    """The result of a job is not committed; the message says why and what to do."""


class EmptyResultError(RejectedError):
    """Not one clip is left."""


class DroppedTracksError(RejectedError):
    """The result lacks tracks of the newest version."""


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why the last job committed nothing.

    Attributes:
        message: A sentence for a person.
        empty: Whether no clip was left.
        counts: What became of each track and clip.
        failures: The first failures, as lines.
    """

    message: str
    empty: bool
    counts: Counts
    failures: tuple[str, ...]


def write_rejection(
    dataset: str, error: RejectedError, *, manifest: Manifest, letters: Sequence[DeadLetter]
) -> None:
    """Writes why a result is not committed. It outlives the worker that found out.

    Raises:
        OSError: It cannot be written.
    """
    value = {
        "message": str(error),
        "empty": isinstance(error, EmptyResultError),
        "counts": json.loads(manifest.to_json())["counts"],
        "failures": [
            f"{letter.reason}: {letter.uri}: {letter.message}" for letter in letters[:_MOST_LETTERS]
        ],
    }
    data = json.dumps(value, indent=1, sort_keys=True).encode()
    storage.put_bytes(storage.join(dataset, REJECTION_NAME), data)


def read_rejection(dataset: str) -> Rejection | None:
    """Returns why the last job committed nothing, or None if it did commit or said nothing.

    Raises:
        OSError: It cannot be read.
    """
    url = storage.join(dataset, REJECTION_NAME)
    if not storage.exists(url):
        return None
    value = json.loads(storage.read_bytes(url))
    return Rejection(
        message=value["message"],
        empty=value["empty"],
        counts=Counts.from_json(value["counts"]),
        failures=tuple(value["failures"]),
    )


def clear_rejection(dataset: str) -> None:
    """Removes what an earlier job left.

    Raises:
        OSError: It cannot be removed.
    """
    url = storage.join(dataset, REJECTION_NAME)
    if storage.exists(url):
        storage.remove(url)
