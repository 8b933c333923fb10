"""Shows, verifies, previews and explains a dataset.

singsong dataset show dataset
singsong dataset verify dataset
singsong dataset verify dataset --against gs://my-bucket/dataset
singsong dataset versions dataset
singsong dataset preview dataset --min-instrumental-db -30
singsong dataset explain dataset ~/Music/song.mp3
"""

from __future__ import annotations

import argparse

from singsong.commands.subcommands import add_subcommands
from singsong.pipelines.places import check_dataset
from singsong.pipelines.recipe_arguments import add_threshold_arguments

_TOLERANCE = 0.01
_CODE_TOLERANCE = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of `singsong dataset`."""
    texts = {
        "show": "print what it holds, and what failed",
        "verify": "read every file again and check its hash",
        "versions": "list the versions that can be read",
        "preview": "count what another loudness filter would keep, without encoding",
        "explain": "print what became of a file, a track or a clip, and why",
    }
    for name, action in add_subcommands(parser, texts, dest="action").items():
        action.add_argument("dataset", metavar="DATASET", help="folder or URL")
        if name != "versions":
            action.add_argument("--version", help="the first 12 digits of a version's digest")
        if name == "verify":
            _add_comparison_arguments(action)
        if name == "preview":
            add_threshold_arguments(action)
        if name == "explain":
            action.add_argument(
                "what", metavar="FILE|ID", help="path, URL or name of a file; id of a track or clip"
            )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong dataset` and returns its exit code.

    Raises:
        ValueError: There is no dataset, it has no vocals to filter by, or a tolerance is given
            and nothing to compare with.
        DatasetError: It cannot be read.
    """
    check_dataset(args.dataset)
    if args.action == "verify":
        _check_comparison(args)
    from singsong.commands.dataset_actions import ACTIONS

    return ACTIONS[args.action](args)


def _add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against",
        metavar="DATASET",
        help="then compare it with the newest version of this one, clip by clip; exits with 1 if "
        "they differ in clips, codes, figures, recipe or weights. Formats, number of shards, "
        "device and software may differ",
    )
    for flag, default, what in (
        ("--tolerance", _TOLERANCE, "by how much a figure may differ, such as a level in dB"),
        ("--code-tolerance", _CODE_TOLERANCE, "share of a column's codes that may differ"),
    ):
        parser.add_argument(flag, type=float, help=f"{what}; {default} if not given")


def _check_comparison(args: argparse.Namespace) -> None:
    """Checks the arguments of a comparison, and fills in what is not given."""
    if args.against is None:
        if args.tolerance is not None or args.code_tolerance is not None:
            raise ValueError("--tolerance and --code-tolerance need --against DATASET")
        return
    check_dataset(args.against)
    args.tolerance = _TOLERANCE if args.tolerance is None else args.tolerance
    args.code_tolerance = _CODE_TOLERANCE if args.code_tolerance is None else args.code_tolerance
    if not args.tolerance >= 0:
        raise ValueError(f"--tolerance must be 0 or more, found {args.tolerance}")
    if not 0 <= args.code_tolerance <= 1:
        raise ValueError(f"--code-tolerance must be from 0 to 1, found {args.code_tolerance}")
