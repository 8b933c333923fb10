"""Holds the numbers of a dataset against each other: audio, parts, tables, shards and manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

from singsong import storage
from singsong.dataset.commit import clip_problems
from singsong.dataset.counts import count, count_splits
from singsong.dataset.handle import Dataset
from singsong.dataset.manifest import DatasetError
from singsong.dataset.parts import BrokenPartError, decide
from singsong.schemas.elements import TrackSummary
from singsong.schemas.json_values import recipe_differences
from singsong.schemas.outcomes import TrackStatus


def verify_counts(
    dataset: Dataset,
    clips_of_track: Mapping[str, Counter[str]],
    *,
    on_part: Callable[[], object] = lambda: None,
) -> Iterator[str]:
    """Yields a sentence for each number that differs from another one.

    Args:
        dataset: The version to check.
        clips_of_track: Number of records of each track, by format, as its shards hold them.
        on_part: Called after each encoded track.
    """
    try:
        tracks, failures = dataset.tracks, dataset.failures
    except (OSError, ValueError, DatasetError) as error:
        yield f"the tables cannot be read: {error}"
        return
    yield from _verify_manifest(dataset, tracks)
    yield from clip_problems(tracks, dataset.recipe.encode)
    yield from _verify_shard_clips(tracks, clips_of_track)
    failed = Counter(failure.track_id for failure in failures if failure.clip_index is not None)
    for track in tracks:
        if track.status == TrackStatus.ENCODED:
            yield from _verify_track(dataset, track, failed_clips=failed[track.track_id])
            on_part()
    yield from _verify_recordings(tracks)


def _verify_manifest(dataset: Dataset, tracks: Sequence[TrackSummary]) -> Iterator[str]:
    stated = dataset.manifest.counts
    counted = replace(count(tracks), skipped=stated.skipped)  # which no table lists
    for line in recipe_differences(asdict(stated), asdict(counted)):
        yield f"the manifest and the table of tracks do not agree on {line}"
    of_split = count_splits(tracks, dataset.recipe)
    for name, split in dataset.manifest.splits.items():
        for line in recipe_differences(asdict(split), asdict(of_split[name])):
            yield f"the manifest and the table of tracks do not agree on split {name}: {line}"


def _verify_shard_clips(
    tracks: Sequence[TrackSummary], clips_of_track: Mapping[str, Counter[str]]
) -> Iterator[str]:
    kept = {track.track_id: track.kept_clips for track in tracks if track.kept_clips}
    for name, clips in clips_of_track.items():
        for track_id in sorted(kept.keys() | clips.keys()):
            if kept.get(track_id, 0) != clips[track_id]:
                yield (
                    f"track {track_id[:12]} keeps {kept.get(track_id, 0)} clips, "
                    f"the {name} shards hold {clips[track_id]}"
                )


def _verify_track(dataset: Dataset, track: TrackSummary, *, failed_clips: int) -> Iterator[str]:
    """Holds a track against the dead letters of its clips, and its part, if that is still there."""
    failed = sum(number for _, number in track.failed_clips)
    if failed != failed_clips:
        yield f"{track.uri} has {failed} failed clips, and {failed_clips} dead letters"
    if not dataset.manifest.encode_digest:
        return  # parts of before had no checksum
    url = storage.join(dataset.parts, track.part)
    try:
        part = decide(
            url,
            dataset_filter=dataset.recipe.dataset_filter,
            separated=dataset.recipe.encode.separator is not None,
        )
    except FileNotFoundError:
        return  # a dataset is whole without its parts
    except (BrokenPartError, OSError) as error:
        yield f"{error}: `singsong prepare` makes it again"
        return
    found = (len(part.kept), sum(number for _, number in part.dropped), len(part.failures))
    stated = (track.kept_clips, sum(number for _, number in track.dropped_clips), failed)
    if found != stated:
        yield (
            f"{track.uri}: its part has {found} kept, dropped and failed clips, "
            f"the table of tracks {stated}"
        )


def _verify_recordings(tracks: Sequence[TrackSummary]) -> Iterator[str]:
    split_of: dict[str, str] = {}
    for track in tracks:
        if track.status != TrackStatus.ENCODED:
            continue
        other = split_of.setdefault(track.audio_sha256, track.split)
        if other != track.split:
            yield f"recording {track.audio_sha256[:12]} is in the splits {other}, {track.split}"
