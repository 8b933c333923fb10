"""Runs mutants in parallel, each in a copy of the source tree, after their tests without any."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from tests.mutants.listings import Mutant
from tests.mutants.trials import Copies, Outcome, Trial

_SLOWER = 5  # than the tests without a bug: more is taken for an endless loop
_START_S = 30.0  # Python and the imports, on a busy machine

Item = TypeVar("Item")


class FailingTestsError(Exception):
    """Tests do not pass without a mutant, so that they tell nothing about one."""


def end_cleanly_when_terminated() -> None:
    """Lets SIGTERM end this process as Ctrl-C does: running tests are killed, copies removed."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def run_mutants(mutants: Sequence[Mutant], *, root: Path, jobs: int) -> dict[Mutant, Trial]:
    """Returns the trial of each mutant, in the order given, and shows how far they are.

    Args:
        mutants: At least one.
        root: The working tree to copy.
        jobs: How many run at once.

    Raises:
        FailingTestsError: Their tests do not pass without a mutant.
    """
    jobs = min(jobs, len(mutants))
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        closing(Copies(Path(folder), root=root, count=jobs)) as copies,
    ):
        sets = {mutant.tests for mutant in mutants}
        unmutated = _each(copies.run_tests, sets, copies=copies, jobs=jobs, unit="test set")
        _check_passed(unmutated)

        def run(mutant: Mutant) -> Trial:
            limit_s = _START_S + _SLOWER * unmutated[mutant.tests].seconds
            return copies.run_mutant(mutant, time_limit_s=limit_s)

        trials = _each(run, mutants, copies=copies, jobs=jobs, unit="mutant")
    return {mutant: trials[mutant] for mutant in mutants}


def _each(
    run: Callable[[Item], Trial], items: Collection[Item], *, copies: Copies, jobs: int, unit: str
) -> dict[Item, Trial]:
    """Returns the trial of each item, and shows how far they are."""
    trials: dict[Item, Trial] = {}
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(run, item): item for item in items}
        for future in tqdm(as_completed(futures), total=len(items), unit=unit):
            trials[futures[future]] = future.result()
    except BaseException:
        copies.close()  # so that the threads end at once
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return trials


def _check_passed(unmutated: Mapping[tuple[str, ...], Trial]) -> None:
    lines = []
    for tests, trial in unmutated.items():
        if trial.outcome is not Outcome.SURVIVED:
            lines += [f"\n{' '.join(tests)}", trial.detail]
    if lines:
        heading = "These tests must pass without a mutant, and do not:"
        raise FailingTestsError("\n".join([heading, *lines]))
