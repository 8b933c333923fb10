"""Applies each listed bug to a copy of the source tree and runs the tests that should notice.

    make mutants
    python -m tests.mutants --only dropout

The exit code is 1 if a bug survives, does not apply, or its tests do not pass without it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tests.mutants.arguments import make_parser
from tests.mutants.listings import FOLDER, Mutant, read_listings
from tests.mutants.runner import (
    FailingTestsError,
    end_cleanly_when_terminated,
    run_mutants,
)
from tests.mutants.trials import Outcome, Trial


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the mutants and returns the exit code."""
    args = make_parser("python -m tests.mutants", __doc__, only="name, file or listing").parse_args(
        argv
    )
    word = args.only.lower()
    mutants = [it for it in read_listings(args.root / FOLDER) if word in str(it).lower()]
    if not mutants:
        print(f"No mutant of {args.root / FOLDER} has {args.only!r} in its name, file or listing.")
        return 1
    try:
        trials = run_mutants(mutants, root=args.root, jobs=args.jobs)
    except FailingTestsError as error:
        print(error)
        return 1
    print(_report(trials))
    return int(not all(trial.outcome.killed for trial in trials.values()))


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


if __name__ == "__main__":
    end_cleanly_when_terminated()
    sys.exit(main())
