"""The actions of `singsong dataset`: show, verify, versions and preview."""

from __future__ import annotations

import argparse
from collections import Counter

from tqdm import tqdm

from singsong import storage
from singsong.dataset.handle import open_dataset
from singsong.dataset.parts import preview_part
from singsong.dataset.summary import describe
from singsong.dataset.verify import verify_dataset
from singsong.dataset.versions import version_names
from singsong.pipelines.recipe_arguments import thresholds_from
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.text import printable

_BROKEN_EXIT_CODE = 1


def show(args: argparse.Namespace) -> int:
    """Prints what a dataset holds, and each failure.

    Raises:
        DatasetError: There is no dataset.
    """
    dataset = open_dataset(args.dataset, args.version)
    manifest = dataset.manifest
    print(f"dataset {manifest.dataset_digest}")
    print("\n".join(describe(dataset)))
    for role, digest in sorted(manifest.weights.items()):
        print(printable(f"{role:<28}{manifest.origin.get(role, '')}  {digest[:12]}"))
    for failure in dataset.failures:
        print(failure.to_line())
    return 0


def verify(args: argparse.Namespace) -> int:
    """Checks every file of a dataset, prints each problem and returns the exit code.

    Raises:
        DatasetError: There is no dataset.
    """
    dataset = open_dataset(args.dataset, args.version)
    files = len(dataset.shards) + len(dataset.manifest.tables)
    with tqdm(total=files, unit="file", desc="verify", disable=None) as bar:
        problems = list(verify_dataset(dataset, on_file=bar.update))
    for problem in problems:
        print(printable(problem))
    if problems:
        print(printable(f"{len(problems)} problems in {args.dataset}"))
        return _BROKEN_EXIT_CODE
    rows = sum(shard.rows for shard in dataset.shards)
    digest = dataset.manifest.dataset_digest
    print(f"dataset {digest[:12]} is whole: {files} files, {rows} records")
    return 0


def versions(args: argparse.Namespace) -> int:
    """Prints a line for each version of a dataset, the newest marked.

    Raises:
        DatasetError: There is no dataset.
    """
    newest = open_dataset(args.dataset).manifest.dataset_digest
    for name in version_names(args.dataset):
        version = open_dataset(args.dataset, name)
        digest = version.manifest.dataset_digest
        mark = "*" if digest == newest else " "
        clips = version.manifest.counts.clips.kept
        print(f"{mark} {digest[:12]}  {clips} clips, {len(version.shards)} files")
    return 0


def preview(args: argparse.Namespace) -> int:
    """Prints how many clips a filter would keep and drop.

    Raises:
        DatasetError: There is no dataset.
        ValueError: The dataset has no vocals to decide on.
    """
    dataset = open_dataset(args.dataset, args.version)
    if dataset.recipe.encode.separator is None:
        raise ValueError("the dataset was made without separation: there is nothing to filter by")
    wanted = thresholds_from(args)
    outcomes, without_codes = Counter[str](), 0
    for track in dataset.tracks:
        if track.status == TrackStatus.ENCODED:
            part = preview_part(storage.join(dataset.parts, track.part), wanted)
            outcomes["kept"] += part.kept
            outcomes.update({f"dropped: {reason}": n for reason, n in part.dropped.items()})
            outcomes.update({f"failed: {reason}": n for reason, n in part.failed.items()})
            without_codes += part.without_codes
    for outcome, clips in sorted(outcomes.items()):
        if clips:
            print(f"{outcome:<28}{clips:>10}")
    print(f"{'of those kept, no codes yet':<28}{without_codes:>10}")
    return 0


ACTIONS = {"show": show, "verify": verify, "versions": versions, "preview": preview}
