"""The cheap step: reads part files, writes shards and commits a manifest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam

from singsong import storage
from singsong.dataset.commit import CommitConfig, commit_dataset
from singsong.dataset.manifest import Manifest, ShardEntry
from singsong.dataset.parts import MissingCodesError, PartDecisions, decide
from singsong.dataset.shard_writer import ShardSource, write_shard
from singsong.schemas.elements import DeadLetter, PartRef, TrackSummary
from singsong.schemas.names import shard_of, split_of
from singsong.schemas.outcomes import Stage, TrackStatus
from singsong.schemas.recipe import DatasetRecipe
from singsong.schemas.records import record_fields

DEAD_LETTERS = "dead_letters"


@dataclass(frozen=True, kw_only=True)
class AssembleConfig(CommitConfig):
    """What to assemble, and where.

    Attributes:
        parts: Folder or URL of the parts.
    """

    parts: str


@dataclass(frozen=True, kw_only=True)
class SelectedTrack:
    """A track of the dataset, and the positions of its kept rows in the part."""

    summary: TrackSummary
    kept: tuple[int, ...]


def select_clips(part: PartRef, config: AssembleConfig) -> tuple[SelectedTrack, list[DeadLetter]]:
    """Returns a track with the clips that the filter keeps, and a dead letter per failed clip.

    Raises:
        MissingCodesError: The filter keeps a clip that was not encoded.
        BrokenPartError: The part is damaged.
        OSError: The part cannot be read.
    """
    url = storage.join(config.parts, part.path)
    decisions = decide(
        url,
        dataset_filter=config.recipe.dataset_filter,
        separated=config.recipe.encode.separator is not None,
    )
    if decisions.without_codes:
        raise MissingCodesError(
            f"{url} has no codes for {len(decisions.without_codes)} clips that the filter keeps: "
            "did a job with another filter write it just now? Run the same command again"
        )
    return SelectedTrack(summary=_summary(part, decisions, config.recipe), kept=decisions.kept), [
        DeadLetter(
            uri=part.track.uri,
            track_id=part.track.track_id,
            clip_index=failure.clip_index,
            stage=Stage.ENCODE_TRACKS,
            reason=failure.reason,
            message=failure.message,
        )
        for failure in decisions.failures
    ]


def _summary(part: PartRef, decisions: PartDecisions, recipe: DatasetRecipe) -> TrackSummary:
    facts = decisions.facts
    failed = Counter(failure.reason for failure in decisions.failures)
    return TrackSummary(
        uri=part.track.uri,
        track_id=facts.track_id,
        status=TrackStatus.ENCODED,
        part=part.path,
        audio_sha256=facts.audio_sha256,
        split=split_of(facts.audio_sha256, recipe.splits),
        seconds=facts.seconds,
        tail_seconds=facts.tail_seconds,
        made_with=facts.made_with,
        cut_short=facts.cut_short,
        kept_clips=len(decisions.kept),
        dropped_clips=decisions.dropped,
        failed_clips=tuple(sorted(failed.items())),
    )


def elect_recording(tracks: Iterable[SelectedTrack]) -> list[SelectedTrack]:
    """Returns tracks with the same audio: the elected one, then the others as duplicates.

    The one with the most usable clips is elected, so that none is lost to a copy that failed.
    """
    chosen, *others = sorted(
        tracks, key=lambda track: (-len(track.kept), track.summary.track_id, track.summary.uri)
    )
    return [chosen] + [
        SelectedTrack(
            summary=TrackSummary(
                uri=other.summary.uri,
                track_id=other.summary.track_id,
                status=TrackStatus.DUPLICATE,
                part=other.summary.part,
                audio_sha256=other.summary.audio_sha256,
                duplicate_of=chosen.summary.track_id,
                seconds=other.summary.seconds,
            ),
            kept=(),
        )
        for other in others
    ]


@beam.typehints.with_input_types(Iterable[int])
@beam.typehints.with_output_types(int)
def total(numbers: Iterable[int]) -> int:
    """Returns the sum; Beam cannot infer the return type of the built-in `sum`."""
    return sum(numbers)


def shard_counts(clips: Mapping[str, int], clips_per_shard: int) -> dict[str, int]:
    """Returns how many shards each split has.

    >>> shard_counts({"train": 100, "test": 1}, 40)
    {'train': 3, 'test': 1}
    """
    return {split: math.ceil(count / clips_per_shard) for split, count in clips.items()}


def key_by_shard(
    track: SelectedTrack, clips: Mapping[str, int], clips_per_shard: int
) -> tuple[str, ShardSource]:
    """Returns the shard that a track's clips belong to, as "split/shard/shards", and the track."""
    split = track.summary.split
    shards = shard_counts(clips, clips_per_shard)[split]
    shard = shard_of(track.summary.track_id, shards)
    source = ShardSource(track_id=track.summary.track_id, path=track.summary.part, kept=track.kept)
    return f"{split}/{shard}/{shards}", source


def _write_keyed_shard(
    element: tuple[str, Iterable[ShardSource]], config: AssembleConfig
) -> list[ShardEntry]:
    split, shard, shards = element[0].split("/")
    return write_shard(
        element[1],
        dataset=config.dataset,
        parts=config.parts,
        fields=record_fields(config.recipe.encode, config.geometry),
        formats=config.recipe.formats,
        split=split,
        shard=int(shard),
        shards=int(shards),
    )


class _SelectClips(beam.DoFn):
    def __init__(self, config: AssembleConfig) -> None:
        self._config = config

    def process(self, part: PartRef) -> Iterator[object]:
        selected, letters = select_clips(part, self._config)
        yield selected
        for letter in letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)


class SelectTracks(beam.PTransform):
    """Applies the filter to each part, and elects one track for each recording.

    Returns a dict with the outputs "tracks" (all, duplicates too) and "dead_letters".
    """

    def __init__(self, config: AssembleConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, parts: beam.PCollection) -> dict[str, beam.PCollection]:
        """Returns the two outputs."""
        selected = (
            parts
            | "SpreadParts" >> beam.Reshuffle()
            | "SelectClips"
            >> beam.ParDo(_SelectClips(self._config))
            .with_output_types(SelectedTrack, dead_letters=DeadLetter)
            .with_outputs(DEAD_LETTERS, main="tracks")
        )
        elected = (
            selected["tracks"]
            | "KeyByAudio"
            >> beam.Map(lambda track: (track.summary.audio_sha256, track)).with_output_types(
                tuple[str, SelectedTrack]
            )
            | "GroupByAudio" >> beam.GroupByKey()
            | "ElectRecordings"
            >> beam.FlatMap(lambda element: elect_recording(element[1])).with_output_types(
                SelectedTrack
            )
        )
        return {"tracks": elected, DEAD_LETTERS: selected[DEAD_LETTERS]}


class WriteShards(beam.PTransform):
    """Writes the kept clips of tracks to shards; only references cross the shuffle."""

    def __init__(self, config: AssembleConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, tracks: beam.PCollection) -> beam.PCollection:
        """Returns a `ShardEntry` for each file written."""
        filled = tracks | "OnlyFilled" >> beam.Filter(lambda track: bool(track.kept))
        clips = (
            filled
            | "CountOfTrack"
            >> beam.Map(lambda track: (track.summary.split, len(track.kept))).with_output_types(
                tuple[str, int]
            )
            | "CountPerSplit" >> beam.CombinePerKey(total)
        )
        return (
            filled
            | "KeyByShard"
            >> beam.Map(
                key_by_shard,
                clips=beam.pvalue.AsDict(clips),
                clips_per_shard=self._config.recipe.clips_per_shard,
            ).with_output_types(tuple[str, ShardSource])
            | "GroupByShard" >> beam.GroupByKey()
            | "WriteShard"
            >> beam.FlatMap(_write_keyed_shard, self._config).with_output_types(ShardEntry)
        )


def finish(
    _: None,
    *,
    tracks: Sequence[TrackSummary],
    letters: Sequence[DeadLetter],
    shards: Sequence[ShardEntry],
    listed: int,
    skipped: int,
    config: AssembleConfig,
) -> Manifest:
    """Checks that everything is accounted for and commits the manifest. See `commit_dataset`."""
    return commit_dataset(
        config, tracks=tracks, letters=letters, shards=shards, listed=listed, skipped=skipped
    )


class AssembleShards(beam.PTransform):
    """Turns parts, duplicates and dead letters into a committed dataset.

    Takes a dict of the collections "parts", "duplicates", "dead_letters", "listed" and "skipped";
    returns the `Manifest`, of which there is one.
    """

    def __init__(self, config: AssembleConfig) -> None:
        super().__init__()
        self._config = config

    def expand(self, inputs: Mapping[str, beam.PCollection]) -> beam.PCollection:
        """Returns the manifest."""
        selected = inputs["parts"] | "SelectTracks" >> SelectTracks(self._config)
        shards = selected["tracks"] | "WriteShards" >> WriteShards(self._config)
        summaries = (
            selected["tracks"]
            | "SummaryOfTrack"
            >> beam.Map(lambda track: track.summary).with_output_types(TrackSummary),
            inputs["duplicates"],
        ) | "AllSummaries" >> beam.Flatten()
        letters = (inputs["dead_letters"], selected[DEAD_LETTERS]) | "AllLetters" >> beam.Flatten()
        pipeline = inputs["parts"].pipeline
        return (
            pipeline
            | "Once" >> beam.Create([None])
            | "CommitManifest"
            >> beam.Map(
                finish,
                tracks=beam.pvalue.AsList(summaries),
                letters=beam.pvalue.AsList(letters),
                shards=beam.pvalue.AsList(shards),
                listed=beam.pvalue.AsSingleton(inputs["listed"]),
                skipped=beam.pvalue.AsSingleton(inputs["skipped"]),
                config=self._config,
            )
        )
