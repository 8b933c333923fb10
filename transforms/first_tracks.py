"""Gives a job up whose first tracks are of no use, before all the others are paid for."""

from __future__ import annotations

import logging
from pathlib import Path

from apache_beam.metrics import Metrics

from singsong.schemas.errors import SingsongError
from singsong.schemas.outcomes import FailureReason
from singsong.schemas.text import printable
from singsong.transforms.progress import Progress, ProgressLog, ProgressReader

FIRST_TRACKS = 20

_LOGGER = logging.getLogger(__name__)


class UselessTracksError(SingsongError):
    """Most of the first tracks gave nothing; the message says why most of them did not."""


class FirstTracks:
    """Watches the first tracks that are finished.

    Workers that share a folder for progress count together, and the job stops. Others cannot see
    each other: each counts its own tracks, and warns.

    Args:
        folder: Folder for progress; None if the workers share none.
        keep_going: Whether nothing is watched.
    """

    def __init__(self, folder: str | None, *, keep_going: bool) -> None:
        self._folder = folder
        self._reader = None if folder is None else ProgressReader(Path(folder))
        self._own = Progress()
        self._decided = keep_going

    def finished(self, outcome: str, *, useless: str, uri: str) -> None:
        """Takes what became of a track, once it was reported as progress.

        Args:
            outcome: As for `ProgressLog.track`.
            useless: The same.
            uri: The file.

        Raises:
            UselessTracksError: Most of the first tracks gave nothing.
        """
        if self._decided:
            return
        self._own.add_track(outcome, useless=useless, uri=uri)
        progress = self._own if self._reader is None else self._reader.read()
        complaint = complaint_about(progress)
        self._decided = finished_tracks(progress) >= FIRST_TRACKS
        if complaint and self._folder is None:
            Metrics.counter("singsong", "workers_with_useless_tracks").inc()
            _LOGGER.warning("on this worker, %s", complaint)
        elif complaint:
            ProgressLog(self._folder).stop(complaint)
            raise UselessTracksError(complaint)


def finished_tracks(progress: Progress) -> int:
    """Returns how many tracks are done; covers and notes are none."""
    return sum(progress.tracks.values()) - progress.useless[FailureReason.NOT_AUDIO]


def complaint_about(progress: Progress) -> str:
    """Returns a sentence if enough tracks are done and most of them gave nothing, else nothing."""
    reasons = progress.useless.copy()
    reasons.pop(FailureReason.NOT_AUDIO, None)
    done, useless = finished_tracks(progress), reasons.total()
    if done < FIRST_TRACKS or useless <= done / 2:
        return ""
    ((reason, number),) = reasons.most_common(1)
    return (
        f"{useless} of the first {done} tracks gave nothing, {number} of them as {reason}, such as "
        f"{printable(progress.examples[reason])}: check the input and the settings, or add "
        "--keep-going to go on regardless. Nothing was committed; the parts made so far are kept"
    )
