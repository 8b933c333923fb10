"""The command-line form of where a job runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from runners.local import MODES, LocalOptions


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the runner."""
    group = parser.add_argument_group("runner", "what follows -- goes to Beam")
    group.add_argument(
        "--workers", type=int, default=LocalOptions().workers, help="0 takes one per core"
    )
    group.add_argument("--mode", choices=MODES, default=LocalOptions().mode)


def parse_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> argparse.Namespace:
    """Returns the parsed flags, strictly before `--`, and in `beam_args` what follows it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    args = parser.parse_args(arguments[:end])
    args.beam_args = arguments[end + 1 :]
    return args


def runner_options_from(args: argparse.Namespace) -> LocalOptions:
    """Returns the options that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    return LocalOptions(workers=args.workers, mode=args.mode, beam_args=tuple(args.beam_args))
