"""The last step: check that the sums add up, then commit the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from singsong import storage
from singsong.dataset.counts import count, count_splits
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import (
    DatasetMissingError,
    Manifest,
    ShardEntry,
    commit_manifest,
)
from singsong.dataset.rejection import (
    DroppedTracksError,
    EmptyResultError,
    RejectedError,
    write_rejection,
)
from singsong.dataset.tables import write_failures, write_tracks
from singsong.dataset.versions import unlisted_files
from singsong.schemas.elements import DeadLetter, TrackSummary
from singsong.schemas.geometry import clip_samples
from singsong.schemas.names import SHARDS_FOLDER
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, recipe_json
from singsong.schemas.records import Geometry

_PACKAGES = ("singsong", "apache-beam", "numpy", "pyarrow", "soundfile", "soxr", "torch")


class AccountingError(Exception):
    """Files or clips were lost or counted twice between the input and the dataset."""


@dataclass(frozen=True, kw_only=True)
class CommitConfig:
    """Which dataset is committed, and what made it.

    Attributes:
        dataset: Folder or URL.
        recipe: The recipe that made it.
        weights: Hex digest of each model's weights, by role.
        geometry: Shapes of the codes.
        encode_digest: What names the parts.
        origin: Where models and parts were found.
        replace: Whether the result may lack tracks of the newest version.
        skipped_before: How many files were skipped in the version that this one continues.
    """

    dataset: str
    recipe: DatasetRecipe
    weights: Mapping[str, str]
    geometry: Geometry
    encode_digest: str
    origin: Mapping[str, str]
    replace: bool = False
    skipped_before: int = 0


def commit_dataset(
    config: CommitConfig,
    *,
    tracks: Sequence[TrackSummary],
    letters: Sequence[DeadLetter],
    shards: Sequence[ShardEntry],
    listed: int,
    skipped: int = 0,
) -> Manifest:
    """Writes the tables and the manifest, and returns the manifest.

    Args:
        config: Which dataset, and what made it.
        tracks: The encoded and the duplicate tracks.
        letters: The failed tracks and clips.
        shards: The shards that were written.
        listed: How many files were listed.
        skipped: How many files were skipped as debris of operating systems.

    Raises:
        AccountingError: The sums do not add up, or a shard is missing; nothing is committed.
        RejectedError: No clip is left, or tracks would be dropped; nothing is committed.
        OSError: The dataset cannot be written; nothing is committed.
    """
    everything = sorted(
        [*tracks, *_failed_tracks(letters)], key=lambda track: (track.uri, track.track_id)
    )
    check_sums(everything, shards, listed=listed, recipe=config.recipe.encode)
    check_present(config.dataset, shards)
    manifest = _manifest(config, everything, letters, shards, skipped=skipped)
    try:
        check_not_empty(manifest)
        if not config.replace:
            check_none_dropped(config.dataset, everything)
    except RejectedError as error:
        write_rejection(config.dataset, error, manifest=manifest, letters=letters)
        raise
    commit_manifest(config.dataset, manifest)
    sweep(config.dataset, newest=manifest)
    return manifest


def _manifest(
    config: CommitConfig,
    tracks: Sequence[TrackSummary],
    letters: Sequence[DeadLetter],
    shards: Sequence[ShardEntry],
    *,
    skipped: int,
) -> Manifest:
    return Manifest(
        recipe=recipe_json(config.recipe),
        weights=dict(config.weights),
        geometry=config.geometry.to_json(),
        counts=replace(count(tracks), skipped=skipped + config.skipped_before),
        splits=count_splits(tracks, config.recipe),
        shards=tuple(sorted(shards, key=lambda shard: shard.path)),
        tables=(write_failures(config.dataset, letters), write_tracks(config.dataset, tracks)),
        origin=dict(config.origin),
        software=_software(),
        encode_digest=config.encode_digest,
    )


def check_not_empty(manifest: Manifest) -> None:
    """Checks that the dataset has at least one clip.

    Raises:
        EmptyResultError: It has none.
    """
    clips, seconds = manifest.counts.clips, manifest.counts.seconds
    if clips.kept:
        return
    if not clips.total and seconds.decoded:
        why = "every track is shorter than a clip: choose smaller --clip-seconds"
    elif not clips.total:
        why = "no track could be encoded"
    elif not clips.failed:
        why = f"the filter drops all {clips.total} clips: loosen it, or pass --no-filter"
    else:
        why = f"{sum(clips.failed.values())} of {clips.total} clips failed, the rest was dropped"
    raise EmptyResultError(f"no clip is left: {why}")


def check_none_dropped(dataset: str, tracks: Sequence[TrackSummary]) -> None:
    """Checks that each encoded track of the newest version is among the new ones.

    Its content is, under whatever name, or its file is, with whatever content.

    Raises:
        DroppedTracksError: Some are not.
        DatasetError: The newest version cannot be read.
    """
    try:
        before = open_dataset(dataset).tracks
    except DatasetMissingError:
        return
    made = [track for track in tracks if track.status != TrackStatus.FAILED]
    ids, uris = {track.track_id for track in made}, {track.uri for track in made}
    lost = [
        track.uri
        for track in before
        if track.status == TrackStatus.ENCODED
        and track.track_id not in ids
        and track.uri not in uris
    ]
    if lost:
        raise DroppedTracksError(dropped_tracks_message(dataset, lost))


def dropped_tracks_message(dataset: str, lost: Sequence[str]) -> str:
    """Returns what to say of tracks of the newest version that a run does not have."""
    return (
        f"{dataset} has tracks that are not among the inputs ({len(lost)}, such as {min(lost)}): "
        "pass --add to keep them and add the new ones, or --replace to make a version of these "
        "inputs alone"
    )


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


def check_sums(
    tracks: Sequence[TrackSummary],
    shards: Sequence[ShardEntry],
    *,
    listed: int,
    recipe: EncodeRecipe,
) -> None:
    """Checks numbers against each other that were counted in different places.

    Each listed file has one row; each track as many clips as its samples make; each kept clip one
    record in each format.

    Raises:
        AccountingError: The numbers differ.
    """
    if len(tracks) != listed:
        raise AccountingError(f"{listed} files were listed, {len(tracks)} are accounted for")
    for problem in clip_problems(tracks, recipe):
        raise AccountingError(problem)
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


def clip_problems(tracks: Iterable[TrackSummary], recipe: EncodeRecipe) -> Iterator[str]:
    """Yields a sentence for each encoded track whose clips are not as many as its audio makes."""
    rate = recipe.mix_rate_hz
    for track in tracks:
        if track.status != TrackStatus.ENCODED:
            continue
        samples = round((track.seconds - track.tail_seconds) * rate)
        whole = samples // clip_samples(recipe.clip_seconds, rate)
        clips = track.kept_clips + sum(
            number for _, number in (*track.dropped_clips, *track.failed_clips)
        )
        if clips != whole:
            yield (
                f"{track.uri} has {track.seconds:.3f} s, which is {whole} clips, "
                f"and {clips} are accounted for"
            )


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
