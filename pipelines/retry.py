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
from singsong.pipelines.places import check_dataset
from singsong.pipelines.prepare import PrepareConfig, prepare
from singsong.pipelines.runner_arguments import add_runner_arguments, runner_options_from
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.names import PARTS_FOLDER
from singsong.schemas.recipe import recipe_from_json

if TYPE_CHECKING:
    from singsong.dataset.manifest import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong retry`."""
    parser.add_argument("dataset", metavar="DATASET", help="folder or URL")
    parser.add_argument(
        "--max-failure-rate",
        type=float,
        default=PrepareConfig.max_failure_rate,
        help="exit with 3 if a larger fraction of the tracks fails",
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
    from singsong.dataset.manifest import read_manifest

    manifest = read_manifest(args.dataset)
    failed = failed_uris(args.dataset, manifest)
    if not failed:
        print("Nothing failed: there is nothing to run again.")
        return ExitCode.DONE
    return prepare(config_from(args, manifest=manifest, inputs=failed))


def config_from(
    args: argparse.Namespace, *, manifest: Manifest, inputs: list[str]
) -> PrepareConfig:
    """Returns the configuration that runs the failed inputs of a dataset again.

    Args:
        args: The flags.
        manifest: Of the dataset.
        inputs: The failed files.

    Raises:
        ValueError: A value is outside its range.
    """
    parts = manifest.origin["parts"]
    return PrepareConfig(
        inputs=tuple(inputs),
        output=args.dataset,
        parts=storage.join(args.dataset, parts) if parts == PARTS_FOLDER else parts,
        recipe=recipe_from_json(manifest.recipe, manifest.origin),
        runner=runner_options_from(args),
        max_failure_rate=args.max_failure_rate,
        retry_of=storage.join(args.dataset, manifest.table("tracks").path),
    )


def failed_uris(dataset: str, manifest: Manifest) -> list[str]:
    """Returns the files with a dead letter, each once.

    Raises:
        OSError: The table of dead letters cannot be read.
    """
    import pyarrow.parquet as pq

    with storage.open_read(storage.join(dataset, manifest.table("dead_letters").path)) as file:
        return sorted(set(pq.read_table(file, columns=["uri"])["uri"].to_pylist()))
