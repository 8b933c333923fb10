"""What `prepare` prints at its end, and its exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from singsong.dataset.counts import Counts
from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.rejection import Rejection
from singsong.dataset.split_advice import empty_splits, filling_splits
from singsong.dataset.summary import describe_counts, print_summary
from singsong.pipelines.job_run import is_failure
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import Outcome
from singsong.schemas.text import printable

if TYPE_CHECKING:
    from singsong.pipelines.prepare_config import PrepareConfig

_SHOWN_FAILURES = 20


def report(config: PrepareConfig, outcome: Outcome) -> int:
    """Prints what a job made and returns the exit code."""
    dataset = open_dataset(config.output)
    print_summary(dataset, counters=outcome.counters)
    advise_on_splits(dataset)
    return exit_code(dataset.manifest.counts, max_failure_rate=config.max_failure_rate)


def report_rejection(rejection: Rejection) -> int:
    """Prints why a job committed nothing and returns the exit code."""
    print("\n".join(describe_counts(rejection.counts)))
    for failure in rejection.failures[:_SHOWN_FAILURES]:
        print(printable(failure))
    more = len(rejection.failures) - _SHOWN_FAILURES
    if more > 0:
        print(f"... and {more} more failures")
    print(f"\nNothing was committed: {printable(rejection.message)}.")
    return ExitCode.FAILED_TRACKS if rejection.empty else ExitCode.FAILED


def advise_on_splits(dataset: Dataset) -> None:
    """Prints how a small library gets clips in each split, where one has none."""
    empty = empty_splits(dataset)
    if not empty:
        return
    names = " and ".join(empty)
    print(f"\nNo clip is in the split {names}: there are few tracks, and each goes to one split.")
    better = filling_splits(dataset)
    if better is None:
        print("There are too few tracks for these splits: add music.")
        return
    shares = ",".join(f"{name}={weight:g}" for name, weight in better)
    print(
        f"Run the same command with --splits {shares} --replace: each split gets some, and nothing "
        "is encoded again."
    )


def exit_code(counts: Counts, *, max_failure_rate: float) -> int:
    """Returns 0, or 3 with a line on stdout when too many tracks or clips failed."""
    tracks, clips = counts.tracks, counts.clips
    failed = _failures(tracks.failed)
    code = ExitCode.DONE
    for what, number, total in (
        ("tracks", failed, tracks.encoded + tracks.duplicate + failed),
        ("clips", sum(clips.failed.values()), clips.total),
    ):
        if number > max_failure_rate * total:
            print(
                f"{number} of {total} {what} failed, more than --max-failure-rate "
                f"{max_failure_rate:g} allows. `singsong dataset show` lists them; "
                "`singsong retry` runs them again."
            )
            code = ExitCode.FAILED_TRACKS
    return code


def _failures(reasons: Mapping[str, int]) -> int:
    return sum(number for reason, number in reasons.items() if is_failure(reason))
