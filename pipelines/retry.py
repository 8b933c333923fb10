"""Runs the failed inputs of a dataset again, and leaves everything else unchanged.

    singsong retry dataset

Tracks that failed are decoded and encoded again, and so are tracks with failed clips. The parts of
all other tracks are taken over without reading their files. The result becomes the dataset's newest
version.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from singsong.pipelines.existing import Existing
from singsong.pipelines.places import check_dataset
from singsong.pipelines.prepare import PrepareConfig, prepare
from singsong.pipelines.runner_arguments import add_runner_arguments, runner_options_from
from singsong.runners.exit_codes import ExitCode

if TYPE_CHECKING:
    from singsong.dataset.handle import Dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong retry`."""
    parser.add_argument("dataset", metavar="DATASET", help="folder or URL")
    parser.add_argument(
        "--max-failure-rate",
        type=float,
        default=PrepareConfig.max_failure_rate,
        help="exit with 3 if a larger fraction of the tracks or of the clips fails",
    )
    add_runner_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Runs `singsong retry` and returns its exit code.

    Raises:
        ValueError: There is no dataset, or as `prepare`.
        JobFailedError: A step failed for good.
    """
    runner_options_from(args)
    check_dataset(args.dataset)
    from singsong.dataset.handle import open_dataset

    dataset = open_dataset(args.dataset)
    if not dataset.failures:
        print("Nothing failed: there is nothing to run again.")
        return ExitCode.DONE
    return prepare(config_from(args, dataset=dataset))


def config_from(args: argparse.Namespace, *, dataset: Dataset) -> PrepareConfig:
    """Returns the configuration that runs the failed inputs of a dataset again.

    Args:
        args: The flags.
        dataset: Its newest version; something failed.

    Raises:
        ValueError: A value is outside its range.
        DatasetError: The table of failures is damaged.
        OSError: It cannot be read.
    """
    return PrepareConfig(
        inputs=tuple(sorted({failure.uri for failure in dataset.failures})),
        output=dataset.url,
        parts=dataset.parts,
        recipe=dataset.recipe,
        runner=runner_options_from(args),
        existing=Existing.ADD,
        max_failure_rate=args.max_failure_rate,
        retry=True,
    )
