"""The actions of `singsong dataset`. The flags are in `dataset_arguments`."""

from __future__ import annotations

import argparse
from collections import Counter

import pyarrow.parquet as pq
from tqdm import tqdm

from singsong import storage
from singsong.dataset.manifest import read_manifest
from singsong.dataset.parts import read_loudness
from singsong.dataset.summary import describe
from singsong.dataset.verify import verify_dataset
from singsong.schemas.names import PARTS_FOLDER, VERSIONS_FOLDER
from singsong.schemas.recipe import LoudnessFilter

_BROKEN_EXIT_CODE = 1


def show(args: argparse.Namespace) -> int:
    """Prints what a dataset holds, and each dead letter.

    Raises:
        DatasetError: There is no dataset.
    """
    manifest = read_manifest(args.dataset, args.version)
    print(f"dataset {manifest.dataset_digest}")
    print("\n".join(describe(manifest)))
    for role, digest in sorted(manifest.weights.items()):
        print(f"{role:<28}{manifest.origin.get(role, '')}  {digest[:12]}")
    with storage.open_read(storage.join(args.dataset, manifest.table("dead_letters").path)) as file:
        letters = pq.read_table(file).to_pylist()
    for letter in letters:
        clip = "" if letter["clip_index"] is None else f" clip {letter['clip_index']}"
        print(f"{letter['reason']}: {letter['uri']}{clip}: {letter['message']}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """Checks every file of a dataset, prints what is wrong and returns the exit code.

    Raises:
        DatasetError: There is no dataset.
    """
    manifest = read_manifest(args.dataset, args.version)
    problems = []
    files = len(manifest.shards) + len(manifest.tables)
    with tqdm(total=files, unit="file", desc="verify", disable=None) as bar:
        for problem in verify_dataset(args.dataset, manifest, on_file=bar.update):
            problems.append(problem)
    for problem in problems:
        print(problem)
    if problems:
        print(f"{len(problems)} problems in {args.dataset}")
        return _BROKEN_EXIT_CODE
    rows = sum(shard.rows for shard in manifest.shards)
    print(f"dataset {manifest.dataset_digest[:12]} is whole: {files} files, {rows} records")
    return 0


def versions(args: argparse.Namespace) -> int:
    """Prints a line for each version of a dataset, the newest marked.

    Raises:
        DatasetError: There is no dataset.
    """
    newest = read_manifest(args.dataset).dataset_digest
    for name in storage.list_files(storage.join(args.dataset, VERSIONS_FOLDER)):
        manifest = read_manifest(args.dataset, name.removesuffix(".json"))
        mark = "*" if manifest.dataset_digest == newest else " "
        clips = manifest.counts["clips"]["kept"]
        print(f"{mark} {manifest.dataset_digest[:12]}  {clips} clips, {len(manifest.shards)} files")
    return 0


def preview(args: argparse.Namespace) -> int:
    """Prints how many clips a filter would keep and drop.

    Raises:
        DatasetError: There is no dataset.
        ValueError: The dataset has no vocals to decide on.
    """
    manifest = read_manifest(args.dataset, args.version)
    if manifest.recipe["encode"]["separator"] is None:
        raise ValueError("the dataset was made without separation: there is nothing to filter by")
    parts = manifest.origin["parts"]
    folder = storage.join(args.dataset, parts) if parts == PARTS_FOLDER else parts
    wanted = LoudnessFilter(
        min_instrumental_db=args.min_instrumental_db,
        max_vocals_above_db=args.max_vocals_above_db,
    )
    with storage.open_read(storage.join(args.dataset, manifest.table("tracks").path)) as file:
        rows = pq.read_table(file, columns=["status", "part"]).to_pylist()
    outcomes = Counter[str]()
    without_codes = 0
    for row in rows:
        if row["status"] == "encoded":
            decided, missing = read_loudness(storage.join(folder, row["part"]), wanted)
            outcomes.update(decided)
            without_codes += missing
    for outcome, clips in sorted(outcomes.items()):
        print(f"{outcome:<28}{clips:>10}")
    print(f"{'of those kept, no codes yet':<28}{without_codes:>10}")
    return 0


ACTIONS = {"show": show, "verify": verify, "versions": versions, "preview": preview}
