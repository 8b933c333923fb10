"""The last step: the sums must add up, then the manifest makes the dataset. No Beam."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pyarrow as pa

from singsong import storage
from singsong.dataset.manifest import Manifest, ShardEntry, commit_manifest, read_manifest
from singsong.dataset.shard_writer import write_table_file
from singsong.schemas.elements import DeadLetter, TrackSummary
from singsong.schemas.names import SHARDS_FOLDER, TABLES_FOLDER, VERSIONS_FOLDER
from singsong.schemas.recipe import DatasetRecipe, recipe_json
from singsong.schemas.records import Geometry

_PACKAGES = ("singsong", "apache-beam", "numpy", "pyarrow", "soundfile", "soxr", "torch")
_COUNTS = pa.map_(pa.string(), pa.int64())
TRACKS_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("track_id", pa.string()),
        ("status", pa.string()),
        ("part", pa.string()),
        ("audio_sha256", pa.string()),
        ("split", pa.string()),
        ("duplicate_of", pa.string()),
        ("reason", pa.string()),
        ("seconds", pa.float64()),
        ("tail_seconds", pa.float64()),
        ("kept_clips", pa.int64()),
        ("dropped_clips", _COUNTS),
        ("failed_clips", _COUNTS),
    ]
)
DEAD_LETTERS_SCHEMA = pa.schema(
    [
        ("uri", pa.string()),
        ("track_id", pa.string()),
        ("clip_index", pa.int32()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
    ]
)


class AccountingError(Exception):
    """Something was lost or counted twice between the list of files and the dataset."""


def commit_dataset(
    *,
    dataset: str,
    recipe: DatasetRecipe,
    weights: Mapping[str, str],
    geometry: Geometry,
    tracks: Sequence[TrackSummary],
    letters: Sequence[DeadLetter],
    shards: Sequence[ShardEntry],
    listed: int,
    origin: Mapping[str, str],
) -> Manifest:
    """Writes the tables and the manifest, and returns the manifest.

    Args:
        dataset: Where to.
        recipe: What made it.
        weights: Hex digest of each model's weights, by role.
        geometry: Shapes of the codes.
        tracks: The encoded and the duplicate tracks.
        letters: What failed, tracks and clips.
        shards: What was written.
        listed: How many files were listed.
        origin: Where models and parts were found.

    Raises:
        AccountingError: The sums do not add up, or a shard is gone; nothing is committed.
        OSError: The place cannot be written; nothing is committed.
    """
    failed = [
        TrackSummary(
            uri=letter.uri,
            track_id=letter.track_id or "",
            status="failed",
            reason=letter.reason,
        )
        for letter in letters
        if letter.clip_index is None
    ]
    everything = sorted([*tracks, *failed], key=lambda track: (track.uri, track.track_id))
    check_sums(everything, shards, listed)
    check_present(dataset, shards)
    manifest = Manifest(
        recipe=recipe_json(recipe),
        weights=dict(weights),
        geometry=geometry.to_json(),
        counts=count(everything),
        splits=count_splits(everything, recipe),
        shards=tuple(sorted(shards, key=lambda shard: shard.path)),
        tables=(
            write_table_file(dataset, name="dead_letters", table=_letters_table(letters)),
            write_table_file(dataset, name="tracks", table=_tracks_table(everything)),
        ),
        origin=dict(origin),
        software=_software(),
    )
    commit_manifest(dataset, manifest)
    sweep(dataset)
    return manifest


def check_sums(tracks: Sequence[TrackSummary], shards: Sequence[ShardEntry], listed: int) -> None:
    """Checks that each listed file has one line, and each kept clip one record per format.

    Raises:
        AccountingError: It is not so.
    """
    if len(tracks) != listed:
        raise AccountingError(f"{listed} files were listed, {len(tracks)} are accounted for")
    kept = Counter[str]()
    for track in tracks:
        kept[track.split] += track.kept_clips
    written = Counter[tuple[str, str]]()
    for shard in shards:
        written[shard.split, shard.format] += shard.rows
    for (split, name), rows in written.items():
        if rows != kept[split]:
            raise AccountingError(
                f"split {split} keeps {kept[split]} clips, its {name} shards hold {rows}"
            )
    missing = {split for split, clips in kept.items() if clips} - {split for split, _ in written}
    if missing:
        raise AccountingError(f"no shard was written for the splits {sorted(missing)}")


def check_present(dataset: str, shards: Sequence[ShardEntry]) -> None:
    """Checks that nobody removed a shard between its writing and the commit.

    Another job with the same output sweeps away what no version lists when it commits.

    Raises:
        AccountingError: A shard is missing.
    """
    present = set(storage.list_files(storage.join(dataset, SHARDS_FOLDER)))
    missing = {shard.path for shard in shards} - {f"{SHARDS_FOLDER}/{name}" for name in present}
    if missing:
        raise AccountingError(
            f"{min(missing)} was written and is gone: is another job writing to {dataset}? "
            "Run the same command again when it has ended; the parts are kept"
        )


def count(tracks: Sequence[TrackSummary]) -> dict[str, Any]:
    """Returns what became of each track and clip, and seconds of audio."""
    encoded = [track for track in tracks if track.status == "encoded"]
    return {
        "tracks": {
            "listed": len(tracks),
            "encoded": len(encoded),
            "duplicate": sum(track.status == "duplicate" for track in tracks),
            "failed": dict(sorted(Counter(t.reason for t in tracks if t.reason).items())),
        },
        "clips": {
            "kept": sum(track.kept_clips for track in encoded),
            "dropped": _summed(track.dropped_clips for track in encoded),
            "failed": _summed(track.failed_clips for track in encoded),
        },
        "seconds": {
            "decoded": round(sum(track.seconds for track in encoded), 3),
            "tails": round(sum(track.tail_seconds for track in encoded), 3),
        },
    }


def count_splits(
    tracks: Sequence[TrackSummary], recipe: DatasetRecipe
) -> dict[str, dict[str, Any]]:
    """Returns the tracks, clips and seconds in each split."""
    splits = {}
    for name, _ in recipe.splits:
        inside = [track for track in tracks if track.split == name and track.kept_clips]
        clips = sum(track.kept_clips for track in inside)
        splits[name] = {
            "tracks": len(inside),
            "clips": clips,
            "seconds": clips * recipe.encode.clip_seconds,
        }
    return splits


def sweep(dataset: str) -> None:
    """Removes shards and tables that no version of the dataset lists."""
    listed = listed_files(dataset)
    for folder in (SHARDS_FOLDER, TABLES_FOLDER):
        for name in storage.list_files(storage.join(dataset, folder)):
            if f"{folder}/{name}" not in listed:
                storage.remove(storage.join(dataset, folder, name))


def listed_files(dataset: str) -> set[str]:
    """Returns the paths that the manifests of all versions list, relative to the dataset.

    Raises:
        DatasetError: A manifest cannot be read.
    """
    versions = storage.list_files(storage.join(dataset, VERSIONS_FOLDER))
    manifests = [read_manifest(dataset, name.removesuffix(".json")) for name in versions]
    return {entry.path for manifest in manifests for entry in (*manifest.shards, *manifest.tables)}


def _summed(pairs: Iterable[Iterable[tuple[str, int]]]) -> dict[str, int]:
    total = Counter[str]()
    for track_pairs in pairs:
        total.update(dict(track_pairs))
    return dict(sorted(total.items()))


def _tracks_table(tracks: Sequence[TrackSummary]) -> pa.Table:
    names = [field.name for field in dataclass_fields(TrackSummary)]
    rows = [{name: getattr(track, name) for name in names} for track in tracks]
    return pa.Table.from_pylist(rows, TRACKS_SCHEMA)


def _letters_table(letters: Sequence[DeadLetter]) -> pa.Table:
    ordered = sorted(letters, key=lambda letter: (letter.uri, letter.clip_index or 0))
    return pa.Table.from_pylist([vars(letter) for letter in ordered], DEAD_LETTERS_SCHEMA)


def _software() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "from source"
    return versions
