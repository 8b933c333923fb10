"""Waits for a Dataflow job and reports its messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

RUNNING_STATES = (
    "JOB_STATE_UNKNOWN",
    "JOB_STATE_PENDING",
    "JOB_STATE_QUEUED",
    "JOB_STATE_RUNNING",
    "JOB_STATE_PAUSING",
    "JOB_STATE_PAUSED",
    "JOB_STATE_CANCELLING",
    "JOB_STATE_DRAINING",
    "JOB_STATE_RESOURCE_CLEANING_UP",
)
_LEAST_IMPORTANCE = "JOB_MESSAGE_BASIC"
_ERROR = "JOB_MESSAGE_ERROR"
_POLL_S = 5.0
_REASON_WITHIN_S = 60.0


@dataclass
class JobWatch:
    """Follows one job.

    Attributes:
        client: Beam's client of the service.
        job_id: Which job.
        report: Takes each line for the user.
        last_error: The last error that the service reported.
    """

    client: Any
    job_id: str
    report: Callable[[str], None]
    last_error: str = ""
    _since: Any = None
    _reported: set[str] = field(default_factory=set)

    def wait(self) -> str:
        """Returns the state in which the job ended, once the reason of a failure is known."""
        state = ""
        while True:
            now = self._state()
            if now != state:
                self.report(f"{now.removeprefix('JOB_STATE_').lower()}")
                state = now
            self._report_messages()
            if state not in RUNNING_STATES:
                break
            time.sleep(_POLL_S)
        if state == "JOB_STATE_FAILED":
            self._wait_for_the_reason()
        return state

    def _state(self) -> str:
        name: str = self.client.get_job(self.job_id).current_state.name
        return name

    def _wait_for_the_reason(self) -> None:
        """The service reports why a job failed up to half a minute after it did."""
        until = time.monotonic() + _REASON_WITHIN_S
        while not self.last_error and time.monotonic() < until:
            time.sleep(_POLL_S)
            self._report_messages()

    def _report_messages(self) -> None:
        for message in self._new_messages():
            importance = message.message_importance.name
            kind = importance.removeprefix("JOB_MESSAGE_").lower()
            text = message.message_text
            self.report(f"{kind}: {text}")
            # A worker's traceback says more than that its work item failed four times.
            if importance == _ERROR and ("Traceback" in text or "Traceback" not in self.last_error):
                self.last_error = text

    def _new_messages(self) -> Iterator[Any]:
        page, since = None, self._since
        while True:
            messages, page = self.client.list_messages(
                self.job_id,
                start_time=since,
                page_token=page,
                minimum_importance=_LEAST_IMPORTANCE,
            )
            for message in messages:
                if message.id not in self._reported:
                    self._reported.add(message.id)
                    self._since = message.time
                    yield message
            if not page:
                return
