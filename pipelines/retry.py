"""Runs the failed inputs of a dataset again, and leaves everything else unchanged.

    singsong retry dataset

Tracks that failed are decoded and encoded again, and so are tracks with failed clips. The parts of
all other tracks are taken over without reading their files. The result becomes the dataset's newest
version.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from singsong import storage
from singsong.pipelines.existing import Existing
from singsong.pipelines.places import check_dataset
from singsong.pipelines.prepare import add_max_track_hours, prepare
from singsong.pipelines.prepare_config import PrepareConfig
from singsong.pipelines.runner_arguments import add_runner_arguments, runner_options_from
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.names import part_path
from singsong.schemas.outcomes import FailureReason, TrackStatus

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
    add_max_track_hours(parser)
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
    config = config_from(args, dataset=dataset)
    forget_crashes(dataset)
    return prepare(config)


def forget_crashes(dataset: Dataset) -> None:
    """Lets the tracks that were given up because they ended the process be tried again.

    Raises:
        DatasetError: The table of failures is damaged.
        OSError: The table cannot be read, or a file of attempts cannot be removed.
    """
    from singsong.transforms.attempts import give_another_chance

    for failure in dataset.failures:
        if failure.reason is FailureReason.CRASHED and failure.track_id is not None:
            part = part_path(failure.track_id, dataset.manifest.encode_digest)
            give_another_chance(storage.join(dataset.parts, part))


def inputs_to_retry(dataset: Dataset) -> tuple[str, ...]:
    """Returns the files that failed, wholly or in part, and other files with the same bytes.

    Of files with the same bytes only one was tried, and the others are its duplicates. If it cannot
    be read any more, another one stands for it.

    Raises:
        DatasetError: A table is damaged.
        OSError: It cannot be read.
    """
    failed = {failure.track_id for failure in dataset.failures}
    copies = {
        track.uri
        for track in dataset.tracks
        if track.status == TrackStatus.DUPLICATE and track.duplicate_of in failed
    }
    return tuple(sorted({failure.uri for failure in dataset.failures} | copies))


def config_from(args: argparse.Namespace, *, dataset: Dataset) -> PrepareConfig:
    """Returns the configuration that runs the failed inputs of a dataset again.

    Args:
        args: The flags.
        dataset: Its newest version; something failed.

    Raises:
        ValueError: A value is outside its range.
        DatasetError: A table is damaged.
        OSError: It cannot be read.
    """
    return PrepareConfig(
        inputs=inputs_to_retry(dataset),
        output=dataset.url,
        parts=dataset.parts,
        recipe=dataset.recipe,
        runner=runner_options_from(args),
        existing=Existing.ADD,
        max_failure_rate=args.max_failure_rate,
        max_track_hours=args.max_track_hours,
        keep_going=True,  # most of what failed once fails again
        retry=True,
    )
