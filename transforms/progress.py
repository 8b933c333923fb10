"""Progress reported through small files, so that it works across threads and processes alike.

It is for display, and for giving up a job whose first tracks are of no use. What is counted in a
dataset never comes from it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from singsong.schemas.part_row import PartRow

STOP_NAME = "stop"


class StoppedError(Exception):
    """The user interrupted the job, or another worker gave it up."""


class ProgressLog:
    """Appends what happened to a file of this thread, below a folder.

    Attributes:
        folder: The folder; None makes every call do nothing.
    """

    def __init__(self, folder: str | None) -> None:
        self.folder = folder

    def track(self, outcome: str, size_bytes: int, *, useless: str = "", uri: str = "") -> None:
        """Reports that a track was "encoded", "found" or "failed".

        Args:
            outcome: Which.
            size_bytes: Its size.
            useless: Why nothing of it can be used; empty if something can.
            uri: The file.
        """
        self._report({"track": outcome, "bytes": size_bytes, "useless": useless, "uri": uri})

    def clips(self, rows: Iterable[PartRow], *, clip_seconds: float) -> Iterator[PartRow]:
        """Yields the rows of a part and reports each. Raises as `clip`."""
        for row in rows:
            self.clip(row.status, seconds=clip_seconds)
            yield row

    def clip(self, status: str, *, seconds: float) -> None:
        """Reports one clip.

        Raises:
            StoppedError: The user interrupted the job.
        """
        self._report({"clip": status, "seconds": seconds})

    def note(self, text: str) -> None:
        """Reports what a person should know while the job goes on."""
        logging.getLogger(__name__).warning(text)
        self._report({"note": text})

    def stop(self, reason: str) -> None:
        """Makes all workers of this machine stop, and tells the launcher why; the first counts."""
        if self.folder is not None:
            with suppress(FileExistsError), open(self._stop_file, "x", encoding="utf-8") as file:
                file.write(reason)

    def check_stopped(self) -> None:
        """Raises if the job is to stop, and does nothing otherwise.

        Raises:
            StoppedError: The user interrupted the job, or another worker gave it up.
        """
        if self.folder is not None and os.path.exists(self._stop_file):
            raise StoppedError("the job is to stop")

    @property
    def _stop_file(self) -> str:
        return os.path.join(self.folder or "", STOP_NAME)

    def _report(self, event: Mapping[str, str | float]) -> None:
        if self.folder is None:
            return
        self.check_stopped()
        name = f"{os.getpid()}-{threading.get_ident()}.jsonl"
        with open(os.path.join(self.folder, name), "a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")


@dataclass
class Progress:
    """What a job has reported so far.

    Attributes:
        tracks: Number of tracks by outcome.
        bytes: Their size by outcome.
        useless: Number of tracks of which nothing can be used, by reason.
        examples: The file of one of them, by reason.
        clips: Number of clips by status.
        seconds: Audio encoded.
        notes: What a person should know.
    """

    tracks: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    useless: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    clips: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def add_track(
        self, outcome: str, *, size_bytes: int = 0, useless: str = "", uri: str = ""
    ) -> None:
        """Adds a track, as `ProgressLog.track` reports it."""
        self.tracks[outcome] += 1
        self.bytes[outcome] += size_bytes
        if useless:
            self.useless[useless] += 1
            self.examples.setdefault(useless, uri)


class ProgressReader:
    """Reads what the threads and processes of a job have appended since the last read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: Counter[Path] = Counter()
        self._progress = Progress()

    def read(self) -> Progress:
        """Returns the sum of all reports until now."""
        for path in self._folder.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._offsets[path])
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._offsets[path] += len(whole)
            for line in whole.splitlines():
                self._add(json.loads(line))
        return self._progress

    def _add(self, event: Mapping[str, Any]) -> None:
        if "track" in event:
            self._progress.add_track(
                event["track"],
                size_bytes=event["bytes"],
                useless=event.get("useless", ""),
                uri=event.get("uri", ""),
            )
            return
        if "note" in event:
            self._progress.notes.append(event["note"])
            return
        self._progress.clips[event["clip"]] += 1
        self._progress.seconds += event["seconds"]
