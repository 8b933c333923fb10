"""The flags that say where a job runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from singsong.runners.dataflow import DataflowOptions
from singsong.runners.explained_runner import ExplainedRunner
from singsong.runners.job import RunnerOptions
from singsong.runners.local import LocalOptions
from singsong.runners.spark import SparkOptions

RUNNERS: Mapping[str, type[Any]] = {
    "local": LocalOptions,
    "spark": SparkOptions,
    "dataflow": DataflowOptions,
}
_BEAM_ARGS = "beam_args"


def add_runner_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--runner`, `--explain` and a flag for each field of the options of each runner.

    What follows `--` on the command line then becomes `beam_args`, see `singsong.commands.cli`.
    """
    parser.set_defaults(beam_args=())
    parser.add_argument(
        "--runner", choices=tuple(RUNNERS), default="local", help="where the job runs"
    )
    parser.add_argument(
        "--explain", action="store_true", help="print the plan of the job instead of running it"
    )
    added = set()
    for name, options in RUNNERS.items():
        group = parser.add_argument_group(f"--runner {name}", "Beam gets what follows --")
        for field in _flags(options):
            if field.name not in added:
                _add_flag(group, field)
            added.add(field.name)


def add_device_argument(group: argparse._ActionsContainer) -> None:
    """Adds `--device`, see `device_from`."""
    group.add_argument("--device", help='"cpu" or "cuda"; cuda with --gpu, else cpu, by default')


def device_from(args: argparse.Namespace) -> str:
    """Returns where the networks run: as `--device` says, or on the GPU that `--gpu` asks for."""
    return args.device or ("cuda" if getattr(args, "gpu", "") else "cpu")


def runner_options_from(args: argparse.Namespace) -> RunnerOptions:
    """Returns the options that the flags describe.

    Raises:
        ValueError: A value is outside its range, or a flag is that of another runner.
    """
    options = RUNNERS[args.runner]
    own = {field.name for field in _flags(options)}
    everyones = {field.name for other in RUNNERS.values() for field in _flags(other)}
    given = {name: value for name, value in vars(args).items() if name in everyones}
    for name in sorted(given.keys() - own):
        raise ValueError(f"{_flag(name)} is not a flag of --runner {args.runner}")
    chosen: RunnerOptions = options(**given, beam_args=tuple(args.beam_args))
    return ExplainedRunner(options=chosen) if args.explain else chosen


def _flags(options: type[Any]) -> list[Field[Any]]:
    return [field for field in fields(options) if field.name != _BEAM_ARGS]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _add_flag(group: argparse._ArgumentGroup, field: Field[Any]) -> None:
    """Adds a flag that is left out of the parsed ones unless it is given."""
    default = "" if field.default is MISSING else field.default
    text = field.metadata.get("help", "")
    shared: dict[str, Any] = {
        "dest": field.name,
        "default": argparse.SUPPRESS,
        "help": f"{text} (default: {default})" if default else text,
    }
    if isinstance(default, bool):
        group.add_argument(_flag(field.name), action="store_true", **shared)
        return
    group.add_argument(
        _flag(field.name), type=type(default), choices=field.metadata.get("choices"), **shared
    )
