"""Runs the failed inputs of a dataset again, and leaves the rest as it is.

    singsong retry dataset

Tracks that failed are decoded and encoded again; tracks with failed clips are encoded again; the
parts of all others are taken over without a look at their files. The result is the dataset's newest
version.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pyarrow.parquet as pq

from singsong import storage
from singsong.dataset.manifest import Manifest, read_manifest
from singsong.pipelines.prepare import PrepareConfig, run
from singsong.pipelines.runner_arguments import (
    add_runner_arguments,
    parse_arguments,
    runner_options_from,
)
from singsong.schemas.names import PARTS_FOLDER
from singsong.schemas.recipe import recipe_from_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong retry`."""
    parser.add_argument("dataset", metavar="DATASET", help="folder or URL")
    parser.add_argument("--max-failure-rate", type=float, default=PrepareConfig.max_failure_rate)
    add_runner_arguments(parser)


def failed_uris(dataset: str, manifest: Manifest) -> list[str]:
    """Returns the files with a dead letter, each once.

    Raises:
        OSError: The table of dead letters cannot be read.
    """
    with storage.open_read(storage.join(dataset, manifest.table("dead_letters").path)) as file:
        return sorted(set(pq.read_table(file, columns=["uri"])["uri"].to_pylist()))


def config_from(args: argparse.Namespace) -> PrepareConfig:
    """Returns the configuration that runs the failed inputs of a dataset again.

    Raises:
        DatasetError: There is no dataset.
        ValueError: A value is outside its range.
    """
    manifest = read_manifest(args.dataset)
    parts = manifest.origin["parts"]
    return PrepareConfig(
        inputs=tuple(failed_uris(args.dataset, manifest)),
        output=args.dataset,
        parts=storage.join(args.dataset, parts) if parts == PARTS_FOLDER else parts,
        recipe=recipe_from_json(manifest.recipe, manifest.origin),
        runner=runner_options_from(args),
        max_failure_rate=args.max_failure_rate,
        retry_of=storage.join(args.dataset, manifest.table("tracks").path),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `singsong retry` and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="singsong retry",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parse_arguments(parser, argv)
    if not failed_uris(args.dataset, read_manifest(args.dataset)):
        print("Nothing failed: there is nothing to run again.")
        return 0
    return run(config_from(args))
