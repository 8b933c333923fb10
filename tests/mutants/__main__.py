"""Applies each listed bug to a copy of the source tree and runs the tests that should notice.

    make mutants
    python -m tests.mutants --only dropout

The exit code is 1 if a bug survives, does not apply, or its tests do not pass without it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from tests.mutants.listings import FOLDER, Mutant, read_listings
from tests.mutants.trials import Copies, Outcome, Trial

ROOT = Path(__file__).resolve().parents[2]
_SLOWER = 5  # than the tests without a bug: more is taken for an endless loop
_START_S = 60.0  # Python and the imports, on a busy machine

Item = TypeVar("Item")
Tests = tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the mutants and returns the exit code."""
    args = _parser().parse_args(argv)
    word = args.only.lower()
    mutants = [it for it in read_listings(args.root / FOLDER) if word in str(it).lower()]
    if not mutants:
        print(f"No mutant of {args.root / FOLDER} has {args.only!r} in its name, file or listing.")
        return 1
    jobs = min(args.jobs, len(mutants))
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        closing(Copies(Path(folder), root=args.root, count=jobs)) as copies,
    ):
        return _run(mutants, copies, jobs=jobs)


def _run(mutants: Sequence[Mutant], copies: Copies, *, jobs: int) -> int:
    """Runs the tests without a mutant and then with each, prints, and returns the exit code."""
    sets = {mutant.tests for mutant in mutants}
    unmutated = _each(copies.run_tests, sets, copies=copies, jobs=jobs, unit="test set")
    if failed := {t: run for t, run in unmutated.items() if run.outcome is not Outcome.SURVIVED}:
        print(_failed_tests(failed))
        return 1

    def run(mutant: Mutant) -> Trial:
        limit_s = _START_S + _SLOWER * unmutated[mutant.tests].seconds
        return copies.run_mutant(mutant, time_limit_s=limit_s)

    trials = _each(run, mutants, copies=copies, jobs=jobs, unit="mutant")
    print(_report({mutant: trials[mutant] for mutant in mutants}))
    return int(not all(trial.outcome.killed for trial in trials.values()))


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


def _failed_tests(failed: Mapping[Tests, Trial]) -> str:
    lines = ["These tests must pass without a mutant, and do not:"]
    for tests, trial in failed.items():
        lines += [f"\n{' '.join(tests)}", trial.detail]
    return "\n".join(lines)


def _report(trials: Mapping[Mutant, Trial]) -> str:
    lines = []
    for outcome in (Outcome.TIMED_OUT, Outcome.NOT_APPLIED, Outcome.NOT_RUN, Outcome.SURVIVED):
        found = {mutant: trial for mutant, trial in trials.items() if trial.outcome is outcome}
        lines += [f"{outcome}: {len(found)}"] if found else []
        for mutant, trial in found.items():
            lines.append(f"  {mutant}")
            if outcome in (Outcome.NOT_APPLIED, Outcome.NOT_RUN):
                lines += [f"    {line}" for line in trial.detail.splitlines()[-3:]]
    killed = sum(trial.outcome.killed for trial in trials.values())
    return "\n".join([*lines, f"killed {killed} of {len(trials)}"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--only", default="", metavar="WORD", help="in name, file or listing")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at once")
    parser.add_argument("--root", type=Path, default=ROOT, help="the working tree to copy")
    return parser


if __name__ == "__main__":
    sys.exit(main())
