"""The actions of `singsong dataset`."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable

from tqdm import tqdm

from singsong import storage
from singsong.dataset.compare import compare_datasets, describe_comparison
from singsong.dataset.explain import explain as explain_in
from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.parts import decide
from singsong.dataset.summary import describe, describe_makers
from singsong.dataset.verify import verify_dataset
from singsong.dataset.versions import version_names
from singsong.pipelines.recipe_arguments import thresholds_from
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.text import printable


def show(args: argparse.Namespace) -> int:
    """Prints what a dataset holds, and each failure.

    Raises:
        DatasetError: There is no dataset.
    """
    dataset = open_dataset(args.dataset, args.version)
    manifest = dataset.manifest
    print(f"dataset {manifest.dataset_digest}")
    print_all([*describe(dataset), *describe_makers(dataset)])
    for role, digest in sorted(manifest.weights.items()):
        print(printable(f"{role:<28}{manifest.origin.get(role, '')}  {digest[:12]}"))
    for failure in dataset.failures:
        print(failure.to_line())
    return 0


def verify(args: argparse.Namespace) -> int:
    """Checks every file of a dataset, and compares it with another one if there is one.

    Prints each problem and difference, and returns the exit code.

    Raises:
        DatasetError: There is no dataset, or the other one is damaged.
    """
    dataset = open_dataset(args.dataset, args.version)
    files = len(dataset.shards) + len(dataset.manifest.tables)
    parts = dataset.manifest.counts.tracks.encoded
    with tqdm(total=files + parts, unit="file", desc="verify", disable=None) as bar:
        problems = list(verify_dataset(dataset, on_file=bar.update, on_part=bar.update))
    for problem in problems:
        print(printable(problem))
    if problems:
        print(printable(f"problems found in {args.dataset}: {len(problems)}"))
        return ExitCode.FAILED
    rows = sum(shard.rows for shard in dataset.shards)
    digest = dataset.manifest.dataset_digest
    print(f"dataset {digest[:12]} is whole: {files} files, {rows} records")
    print_all(describe_makers(dataset))
    return ExitCode.DONE if args.against is None else _compare(dataset, args)


def _compare(dataset: Dataset, args: argparse.Namespace) -> int:
    other = open_dataset(args.against)
    shards = len(dataset.shards_of()) + len(other.shards_of())
    with tqdm(total=shards, unit="file", desc="compare", disable=None) as bar:
        found = compare_datasets(dataset, other, tolerance=args.tolerance, on_shard=bar.update)
    print_all(describe_comparison(found, args.dataset, args.against))
    equal = found.is_equal(code_tolerance=args.code_tolerance)
    print(f"the datasets {'mean the same' if equal else 'differ'}: {found.clips} clips compared")
    return ExitCode.DONE if equal else ExitCode.FAILED


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
            url = storage.join(dataset.parts, track.part)
            part = decide(url, dataset_filter=wanted, separated=True)
            outcomes["kept"] += len(part.kept) + len(part.without_codes)
            outcomes.update({f"dropped: {reason}": n for reason, n in part.dropped})
            outcomes.update(f"failed: {failure.reason}" for failure in part.failures)
            without_codes += len(part.without_codes)
    for outcome, clips in sorted(outcomes.items()):
        if clips:
            print(f"{outcome:<28}{clips:>10}")
    print(f"{'of those kept, no codes yet':<28}{without_codes:>10}")
    return 0


def explain(args: argparse.Namespace) -> int:
    """Prints what became of a file, a track or a clip.

    Raises:
        DatasetError: There is no dataset, or it is damaged.
        ValueError: It knows no such thing.
    """
    print_all(explain_in(open_dataset(args.dataset, args.version), args.what))
    return 0


def print_all(lines: Iterable[str]) -> None:
    """Prints each line."""
    for line in lines:
        print(printable(line))


ACTIONS = {
    "show": show,
    "verify": verify,
    "versions": versions,
    "preview": preview,
    "explain": explain,
}
