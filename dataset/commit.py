"""The last step: check that the sums add up, then commit the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from singsong import storage
from singsong.dataset.counts import count, count_splits
from singsong.dataset.manifest import Manifest, ShardEntry, commit_manifest
from singsong.dataset.tables import write_failures, write_tracks
from singsong.dataset.versions import unlisted_files
from singsong.schemas.elements import DeadLetter, TrackSummary
from singsong.schemas.names import SHARDS_FOLDER
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.recipe import DatasetRecipe, recipe_json
from singsong.schemas.records import Geometry

_PACKAGES = ("singsong", "apache-beam", "numpy", "pyarrow", "soundfile", "soxr", "torch")


class AccountingError(Exception):
    """Files or clips were lost or counted twice between the input and the dataset."""


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
    skipped: int = 0,
) -> Manifest:
    """Writes the tables and the manifest, and returns the manifest.

    Args:
        dataset: Folder or URL.
        recipe: The recipe that made it.
        weights: Hex digest of each model's weights, by role.
        geometry: Shapes of the codes.
        tracks: The encoded and the duplicate tracks.
        letters: The failed tracks and clips.
        shards: The shards that were written.
        listed: How many files were listed.
        origin: Where models and parts were found.
        skipped: How many files were skipped as debris of operating systems.

    Raises:
        AccountingError: The sums do not add up, or a shard is missing; nothing is committed.
        OSError: The dataset cannot be written; nothing is committed.
    """
    everything = sorted(
        [*tracks, *_failed_tracks(letters)], key=lambda track: (track.uri, track.track_id)
    )
    check_sums(everything, shards, listed)
    check_present(dataset, shards)
    manifest = Manifest(
        recipe=recipe_json(recipe),
        weights=dict(weights),
        geometry=geometry.to_json(),
        counts=replace(count(everything), skipped=skipped),
        splits=count_splits(everything, recipe),
        shards=tuple(sorted(shards, key=lambda shard: shard.path)),
        tables=(
            write_failures(dataset, letters),
            write_tracks(dataset, everything),
        ),
        origin=dict(origin),
        software=_software(),
    )
    commit_manifest(dataset, manifest)
    sweep(dataset, newest=manifest)
    return manifest


def _failed_tracks(letters: Iterable[DeadLetter]) -> list[TrackSummary]:
    return [
        TrackSummary(
            uri=letter.uri,
            track_id=letter.track_id or "",
            status=TrackStatus.FAILED,
            reason=letter.reason,
        )
        for letter in letters
        if letter.clip_index is None
    ]


def check_sums(tracks: Sequence[TrackSummary], shards: Sequence[ShardEntry], listed: int) -> None:
    """Checks that each listed file has one row, and each kept clip one record per format.

    Raises:
        AccountingError: The sums differ.
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
    """Checks that no shard was removed since it was written.

    When another job with the same output commits, it removes all files that no version lists.

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


def sweep(dataset: str, *, newest: Manifest) -> None:
    """Removes shards and tables that no version of the dataset lists.

    Args:
        dataset: Folder or URL.
        newest: The version that was just committed; it is not read back.

    Raises:
        DatasetError: The manifest of another version cannot be read.
        OSError: The dataset cannot be listed, or a file cannot be removed.
    """
    for path in unlisted_files(dataset, known=[newest]):
        storage.remove(storage.join(dataset, path))


def _software() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "from source"
    return versions
