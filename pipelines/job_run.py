"""The one way in which a command runs a job, reports it and exits."""

from __future__ import annotations

from collections.abc import Callable

from singsong.runners.errors import JobStoppedError
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import Job, Outcome, RunnerOptions
from singsong.schemas.errors import NotAudioError

RESUME_HINT = "What is done is kept: run the same command again to resume."


def run_job(
    job: Job,
    *,
    runner: RunnerOptions,
    report: Callable[[Outcome], int],
    when_interrupted: str = RESUME_HINT,
) -> int:
    """Runs a job and returns the exit code of its command.

    Args:
        job: What runs.
        runner: Where.
        report: Prints what became of a finished job and returns the exit code.
        when_interrupted: What is printed after Ctrl-C.

    Raises:
        ValueError: The runner refuses the job.
        JobFailedError: A step failed for good.
    """
    try:
        outcome = runner.run(job)
    except JobStoppedError:
        print(f"Interrupted. {when_interrupted}")
        return ExitCode.INTERRUPTED
    return report(outcome) if outcome.finished else ExitCode.DONE


def is_failure(reason: str) -> bool:
    """Returns whether a dead letter counts as a failure: folders of music hold covers and notes.

    >>> is_failure("not_audio"), is_failure("corrupt")
    (False, True)
    """
    return reason != NotAudioError.reason
