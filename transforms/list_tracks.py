"""From the names of files and folders to tracks, one for each content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam

from singsong.schemas.elements import DeadLetter, SourceFile, Track, TrackSummary
from singsong.schemas.errors import ClipError, add_file
from singsong.schemas.outcomes import Stage, TrackStatus
from singsong.transforms.assemble_shards import total
from singsong.transforms.outputs import DEAD_LETTERS, DUPLICATES, FILES, LISTED, SKIPPED, TRACKS
from singsong.transforms.source_files import (
    identify,
    list_source_files,
    preferred,
    read_listing,
)


def elect(tracks: Iterable[Track]) -> tuple[Track, list[TrackSummary]]:
    """Returns the track that stands for all with its content, and a line for each other.

    If it cannot be read later, the others are tried; see `Track.at_each_place`.
    """
    chosen, *others = sorted(tracks, key=lambda track: track.uri)
    return replace(chosen, alternates=tuple(other.uri for other in others)), [
        TrackSummary(
            uri=other.uri,
            track_id=other.track_id,
            status=TrackStatus.DUPLICATE,
            duplicate_of=chosen.track_id,
        )
        for other in others
    ]


def longest_first(tracks: Iterable[Track]) -> list[Track]:
    """Returns the tracks in the order in which they are best dealt out: the largest first."""
    return sorted(tracks, key=lambda track: (-track.size_bytes, track.track_id))


class _Identify(beam.DoFn):
    def process(self, file: SourceFile) -> Iterator[object]:
        try:
            yield identify(file)
        except ClipError as error:
            letter = DeadLetter.of_track(error, stage=Stage.LIST_TRACKS, uri=file.uri)
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, letter)
        except OSError as error:
            add_file(error, file.uri)
            raise


class _Elect(beam.DoFn):
    def process(self, element: tuple[str, Iterable[Track]]) -> Iterator[object]:
        chosen, others = elect(element[1])
        yield chosen
        for other in others:
            yield beam.pvalue.TaggedOutput(DUPLICATES, other)


class _ListFiles(beam.PTransform):
    """Lists what names stand for; a file that is named twice is listed once."""

    def __init__(self, inputs: Sequence[str], *, only_files: bool) -> None:
        super().__init__()
        self._inputs = tuple(inputs)
        self._only_files = only_files

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        return (
            pipeline
            | "NameInputs" >> beam.Create(self._inputs, reshuffle=False)
            | "ListInputs"
            >> beam.FlatMap(list_source_files, only_files=self._only_files).with_output_types(
                SourceFile
            )
            | "KeyByName"
            >> beam.Map(lambda file: (file.uri, file)).with_output_types(tuple[str, SourceFile])
            | "GroupByName" >> beam.GroupByKey()
            | "OncePerName"
            >> beam.MapTuple(lambda _, found: preferred(found)).with_output_types(SourceFile)
        )


class ListTracks(beam.PTransform):
    """Lists files, hashes them and elects one for each content.

    Returns a dict with the outputs "tracks", "duplicates", "dead_letters", "files", "listed", their
    number, and "skipped", the number of files that operating systems left. The tracks come longest
    first, so that a runner that deals them out once deals evenly.

    Args:
        inputs: Names of files and folders, globs and URLs.
        only_files: As for `list_source_files`.
        listing: What `write_listing` wrote of the inputs. The workers read it, where they can,
            instead of listing all inputs a second time.
    """

    def __init__(
        self, inputs: Sequence[str], *, only_files: bool = False, listing: str | None = None
    ) -> None:
        super().__init__()
        self._inputs = tuple(inputs)
        self._only_files = only_files
        self._listing = listing

    def expand(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
        """Returns the five outputs."""
        found = pipeline | "ListFiles" >> self._list_files()
        files = found | "WithoutDebris" >> beam.Filter(lambda file: not file.debris)
        identified = files | "IdentifyFiles" >> beam.ParDo(_Identify()).with_output_types(
            Track, dead_letters=DeadLetter
        ).with_outputs(DEAD_LETTERS, main=TRACKS)
        elected = (
            identified[TRACKS]
            | "KeyByContent"
            >> beam.Map(lambda track: (track.track_id, track)).with_output_types(tuple[str, Track])
            | "GroupByContent" >> beam.GroupByKey()
            | "ElectTracks"
            >> beam.ParDo(_Elect())
            .with_output_types(Track, duplicates=TrackSummary)
            .with_outputs(DUPLICATES, main=TRACKS)
        )
        dealt = (
            elected[TRACKS]
            | "GatherTracks" >> beam.combiners.ToList()
            | "LongestFirst" >> beam.FlatMap(longest_first).with_output_types(Track)
            | "DealTracks" >> beam.Reshuffle()
        )
        return {
            TRACKS: dealt,
            DUPLICATES: elected[DUPLICATES],
            DEAD_LETTERS: identified[DEAD_LETTERS],
            FILES: files,
            LISTED: files | "CountFiles" >> beam.combiners.Count.Globally(),
            SKIPPED: found
            | "DebrisOf" >> beam.Map(lambda file: file.debris).with_output_types(int)
            | "CountDebris" >> beam.CombineGlobally(total),
        }

    def _list_files(self) -> beam.PTransform:
        if self._listing is None:
            return _ListFiles(self._inputs, only_files=self._only_files)
        name = beam.Create([self._listing], reshuffle=False)
        return name | "ReadListing" >> beam.FlatMap(read_listing).with_output_types(SourceFile)
