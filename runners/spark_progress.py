"""The progress bar of a job on a Spark cluster, read from Spark's own page."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tqdm import tqdm

from singsong.runners.progress_bar import open_terminal

_POLL_S = 2.0
_ANSWER_WITHIN_S = 5.0


class StageBar:
    """Shows the tasks of the running stage, and where Spark's page is, until closed.

    Use as a context manager.
    """

    def __init__(self, page: str) -> None:
        """Takes the address of the page that the driver serves."""
        self._page = page
        self._terminal = open_terminal()
        self._bar = tqdm(
            file=self._terminal, dynamic_ncols=True, bar_format="{desc} [{elapsed}]", total=1
        )
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> StageBar:
        self._bar.set_description_str("starting Spark")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._bar.close()
        self._terminal.close()

    def _watch(self) -> None:
        while not self._done.wait(_POLL_S):
            try:
                progress = f"{describe(self._stages())}; see {self._page}"
            except (URLError, OSError, ValueError):
                continue  # Spark serves its page only while the application runs
            self._bar.set_description_str(progress)

    def _stages(self) -> list[dict[str, Any]]:
        applications = self._ask("applications")
        if not applications:
            return []
        stages: list[dict[str, Any]] = self._ask(f"applications/{applications[0]['id']}/stages")
        return stages

    def _ask(self, what: str) -> Any:
        with urlopen(f"{self._page}/api/v1/{what}", timeout=_ANSWER_WITHIN_S) as answer:
            return json.load(answer)


def describe(stages: Sequence[Mapping[str, Any]]) -> str:
    """Returns the progress of an application.

    Args:
        stages: Its stages, as Spark's page lists them.

    >>> describe([
    ...     {"status": "COMPLETE", "numTasks": 8, "numCompleteTasks": 8, "numFailedTasks": 0},
    ...     {"status": "ACTIVE", "numTasks": 8, "numCompleteTasks": 3, "numFailedTasks": 1},
    ... ])
    '1 stages done, 3 of 8 tasks of the next, 1 tasks failed and were run again'
    """
    done = sum(stage["status"] == "COMPLETE" for stage in stages)
    active = [stage for stage in stages if stage["status"] == "ACTIVE"]
    figures = [f"{done} stages done"]
    if active:
        tasks = sum(stage["numTasks"] for stage in active)
        complete = sum(stage["numCompleteTasks"] for stage in active)
        figures.append(f"{complete} of {tasks} tasks of the next")
    if failed := sum(stage["numFailedTasks"] for stage in stages):
        figures.append(f"{failed} tasks failed and were run again")
    return ", ".join(figures)
