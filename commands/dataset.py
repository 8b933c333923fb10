"""Shows, verifies and previews a dataset.

singsong dataset show dataset
singsong dataset verify dataset
singsong dataset versions dataset
singsong dataset preview dataset --min-instrumental-db -30
"""

from __future__ import annotations

import argparse

from singsong.pipelines.places import check_dataset
from singsong.pipelines.recipe_arguments import add_threshold_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `singsong dataset`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in (
        ("show", "print what it holds, and what failed"),
        ("verify", "read every file again and check its hash"),
        ("versions", "list the versions that can be read"),
        ("preview", "count what another loudness filter would keep, without encoding"),
    ):
        action = actions.add_parser(
            name,
            help=text,
            description=text,
            allow_abbrev=False,
            formatter_class=parser.formatter_class,
        )
        action.add_argument("dataset", metavar="DATASET", help="folder or URL")
        if name != "versions":
            action.add_argument("--version", help="the first 12 digits of a version's digest")
        if name == "preview":
            add_threshold_arguments(action)


def run(args: argparse.Namespace) -> int:
    """Runs `singsong dataset` and returns its exit code.

    Raises:
        ValueError: There is no dataset, or it has no vocals to filter by.
        DatasetError: It cannot be read.
    """
    check_dataset(args.dataset)
    from singsong.commands.dataset_actions import ACTIONS

    return ACTIONS[args.action](args)
