"""Lists the models that are known, fetches them ahead, checks them and times them.

singsong models list
singsong models fetch --profile paper
singsong models fetch --profile paper --to offline
singsong models check --separator demucs:offline/htdemucs
singsong models bench --profile lite
"""

from __future__ import annotations

import argparse

from singsong.commands.subcommands import add_subcommands
from singsong.models.registry import check_spec
from singsong.pipelines.places import check_output_folder
from singsong.pipelines.recipe_arguments import (
    add_model_arguments,
    add_spec_arguments,
    models_from,
)
from singsong.pipelines.runner_arguments import device_from


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `singsong models`."""
    texts = {
        "list": "print the models that are known, and those of plug-ins",
        "fetch": "download models ahead, and print their hashes",
        "check": "load models and test that they keep the contract of an adapter",
        "bench": "measure how fast models run on this machine, and their memory",
    }
    for name, action in add_subcommands(parser, texts, dest="action").items():
        if name == "list":
            action.add_argument("--json", action="store_true", help="print JSON")
        elif name == "fetch":
            add_spec_arguments(action, profile=None)
            action.add_argument(
                "--to", metavar="FOLDER", help="also copy them to a folder, to load without network"
            )
        else:
            add_model_arguments(action, profile=None)
        if name == "bench":
            action.add_argument("--seconds", type=float, default=10.0, help="length of a clip")


def run(args: argparse.Namespace) -> int:
    """Runs `singsong models` and returns its exit code.

    Raises:
        ValueError: A name or an option is unknown, or a value is outside its range.
        WeightsError: A model cannot be fetched or loaded.
    """
    if args.action != "list":
        args.models = models_from(args)
        for role, spec in args.models.items():
            check_spec(role, spec)
        if not args.models:
            raise ValueError("no model is named: pass --profile, --separator, --acoustic, ...")
    if args.action in ("check", "bench"):
        args.device = device_from(args)
        if args.batch_clips < 1:
            raise ValueError(f"--batch-clips must be at least 1, found {args.batch_clips}")
    if args.action == "bench" and not 0 < args.seconds <= 600:
        raise ValueError(f"--seconds must be in (0, 600], found {args.seconds}")
    if args.action == "fetch" and args.to is not None:
        check_output_folder(args.to)
    from singsong.commands.model_actions import ACTIONS

    return ACTIONS[args.action](args)
