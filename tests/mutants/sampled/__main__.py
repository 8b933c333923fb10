"""Makes a fixed sample of small changes to deciding files; the tests must notice most of them.

    make mutants-sampled
    python -m tests.mutants.sampled --only loudness

The exit code is 1 if too few are noticed, or one that is not is missing in `files.toml`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from tests.mutants.arguments import make_parser
from tests.mutants.listings import Mutant
from tests.mutants.runner import (
    FailingTestsError,
    end_cleanly_when_terminated,
    run_mutants,
)
from tests.mutants.sampled.sample import CONFIG, SampleConfig, SampledFile, read_config, sample
from tests.mutants.trials import Outcome, Trial


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the sample and returns the exit code."""
    args = make_parser(
        "python -m tests.mutants.sampled", __doc__, only="the path of the file"
    ).parse_args(argv)
    config = read_config(args.root)
    files = [file for file in config.files if args.only in file.path]
    mutants = [
        mutant
        for file in files
        for mutant in sample(file, root=args.root, count=config.changes_per_file)
    ]
    if not mutants:
        print(f"No file of {CONFIG} has {args.only!r} in its path.")
        return 1
    try:
        trials = run_mutants(mutants, root=args.root, jobs=args.jobs)
    except FailingTestsError as error:
        print(error)
        return 1
    return report(trials, files, config)


def report(
    trials: Mapping[Mutant, Trial], files: Sequence[SampledFile], config: SampleConfig
) -> int:
    """Prints what was noticed in each file, and what was not, and returns the exit code."""
    killed_of_all, unexplained = 0, 0
    for file in files:
        found = {mutant: trial for mutant, trial in trials.items() if mutant.file == file.path}
        killed = sum(trial.outcome.killed for trial in found.values())
        print(f"{file.path}: killed {killed} of {len(found)}")
        killed_of_all += killed
        unexplained += _report_survivors(found, file)
    rate = killed_of_all / len(trials)
    print(f"killed {killed_of_all} of {len(trials)} ({rate:.1%}; wanted {config.min_killed:.0%})")
    if unexplained:
        print(f"{unexplained} without a reason in {CONFIG}")
    return int(rate < config.min_killed or unexplained > 0)


def _report_survivors(found: Mapping[Mutant, Trial], file: SampledFile) -> int:
    """Prints what survived in a file and returns for how many there is no reason."""
    reasons = {survivor.name: survivor.reason for survivor in file.survivors}
    unexplained = 0
    for mutant, trial in found.items():
        reason = reasons.get(mutant.name)
        if not trial.outcome.killed:
            what = "" if trial.outcome is Outcome.SURVIVED else f" ({trial.outcome})"
            print(f"  {mutant.name}{what}\n      {reason or 'NO REASON'}")
            unexplained += reason is None
        elif reason is not None:
            print(f"  no longer survives, so remove it from {CONFIG}: {mutant.name}")
    return unexplained


if __name__ == "__main__":
    end_cleanly_when_terminated()
    sys.exit(main())
