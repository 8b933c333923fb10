"""The command-line form of where a job runs."""

from __future__ import annotations

import argparse

from runners.local import MODES, LocalOptions


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the runner."""
    group = parser.add_argument_group("runner", "what follows -- goes to Beam")
    group.add_argument(
        "--workers", type=int, default=LocalOptions().workers, help="0 takes one per core"
    )
    group.add_argument("--mode", choices=MODES, default=LocalOptions().mode)
    group.add_argument("beam_args", nargs="*", metavar="-- BEAM_ARGS", help=argparse.SUPPRESS)


def runner_options_from(args: argparse.Namespace) -> LocalOptions:
    """Returns the options that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    return LocalOptions(workers=args.workers, mode=args.mode, beam_args=tuple(args.beam_args))
