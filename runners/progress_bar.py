"""The progress bar of a job on this machine."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from singsong.runners.job import Job
from singsong.schemas.text import printable
from singsong.transforms.progress import Progress, ProgressReader

_POLL_S = 0.5


class _UnbreakableFile(io.FileIO):
    """Ignores failed writes: after one, tqdm would wait for ever to close its bar."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)


def open_terminal() -> TextIO:
    """Returns a copy of stderr; the runners redirect stderr itself to a file."""
    return io.TextIOWrapper(
        io.BufferedWriter(_UnbreakableFile(os.dup(2), "w")), encoding="utf-8", errors="replace"
    )


class ProgressBar:
    """Shows tracks, audio hours, x realtime, time left, drops and failures, until closed.

    Use as a context manager. The time left comes from the bytes of the tracks that are done; those
    whose part was found do not count, because they cost nothing.
    """

    def __init__(self, folder: Path, *, total_tracks: int, total_bytes: int) -> None:
        self._reader = ProgressReader(folder)
        self._bytes = total_bytes
        self._terminal = open_terminal()
        self._bar = tqdm(
            total=total_tracks,
            unit="track",
            file=self._terminal,
            dynamic_ncols=True,
            bar_format="{n_fmt}/{total_fmt} tracks |{bar:20}| {desc}",
        )
        self._started = time.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProgressBar:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._show(self._reader.read())
        self._bar.close()
        self._terminal.close()

    def _watch(self) -> None:
        while not self._done.wait(_POLL_S):
            self._show(self._reader.read())

    def _show(self, progress: Progress) -> None:
        elapsed = time.monotonic() - self._started
        while progress.notes:
            self._bar.write(printable(progress.notes.pop(0)), file=self._terminal)
        self._bar.n = sum(progress.tracks.values())
        self._bar.set_description_str(
            describe(progress, elapsed_s=elapsed, total_bytes=self._bytes), refresh=True
        )


def progress_bar_of(job: Job) -> Callable[[Path], ProgressBar]:
    """Returns a function from the folder that a job reports its progress to, to its bar."""
    return lambda folder: ProgressBar(
        folder, total_tracks=job.total_tracks, total_bytes=job.total_bytes
    )


def describe(progress: Progress, *, elapsed_s: float, total_bytes: int) -> str:
    """Returns the figures of the bar.

    Args:
        progress: What the job has reported.
        elapsed_s: Seconds since it began.
        total_bytes: Size of all tracks.

    >>> describe(Progress(seconds=7200.0), elapsed_s=60.0, total_bytes=0)
    '2.00 h audio, 120x realtime, 0 dropped, 0 failed'
    """
    speed = progress.seconds / elapsed_s if elapsed_s > 0 else 0.0
    failed = progress.tracks["failed"] + progress.clips["failed"]
    figures = [f"{progress.seconds / 3600:.2f} h audio", f"{speed:.3g}x realtime"]
    left_s = seconds_left(progress, elapsed_s=elapsed_s, total_bytes=total_bytes)
    if left_s is not None:
        figures.append(f"{timedelta(seconds=round(left_s))} left")
    figures += [f"{progress.clips['dropped']} dropped", f"{failed} failed"]
    return ", ".join(figures)


def seconds_left(progress: Progress, *, elapsed_s: float, total_bytes: int) -> float | None:
    """Returns the time left, or None while no track is done."""
    found, worked = progress.bytes["found"], sum(progress.bytes.values())
    worked -= found
    if not worked:
        return None
    return elapsed_s / worked * max(0, total_bytes - found - worked)
