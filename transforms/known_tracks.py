"""Tracks of the newest version of a dataset, kept without reading their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from singsong.dataset.tables import read_tracks
from singsong.schemas.elements import DeadLetter, PartRef, SourceFile, Track, TrackSummary
from singsong.schemas.outcomes import TrackStatus
from singsong.transforms.outputs import DEAD_LETTERS, DUPLICATES, FILES, LISTED, PARTS
from singsong.transforms.progress import ProgressLog

_KNOWN = "known"


def known_tracks(table: str) -> Iterator[PartRef | TrackSummary]:
    """Yields the part of each track in a table, or the summary of a duplicate without one.

    Raises:
        DatasetError: The table is damaged.
        OSError: It cannot be read.
    """
    for row in read_tracks(table):
        if row.part:
            track = Track(track_id=row.track_id, uri=row.uri, size_bytes=0)
            yield PartRef(track=track, path=row.part)
        elif row.status == TrackStatus.DUPLICATE:
            yield row


def _uri_of(known: PartRef | TrackSummary) -> str:
    return known.track.uri if isinstance(known, PartRef) else known.uri


def choose(
    outcomes: Mapping[str, Iterable[object]],
) -> Iterator[tuple[str, object]]:
    """Yields what counts of all that is known of one file, each with the name of its output.

    What this run made of the file replaces what the newest version has of it. If the file fails
    now, the version keeps what it has.

    Args:
        outcomes: What is known of the file, by the name of the input that says so.
    """
    made = [(name, value) for name in (PARTS, DUPLICATES) for value in outcomes[name]]
    if not made:
        made = [
            (PARTS if isinstance(value, PartRef) else DUPLICATES, value)
            for value in outcomes[_KNOWN]
        ]
    yield from made or ((DEAD_LETTERS, value) for value in outcomes[DEAD_LETTERS])


class _Choose(beam.DoFn):
    def __init__(self, progress: str | None) -> None:
        self._progress = progress

    def process(self, element: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[object]:
        outcomes = {name: list(values) for name, values in element[1].items()}
        chosen = list(choose(outcomes))
        for name, value in chosen:
            yield value if name == PARTS else beam.pvalue.TaggedOutput(name, value)
        if not any(name == DEAD_LETTERS for name, _ in chosen):
            for letter in outcomes[DEAD_LETTERS]:
                line = f"{letter.to_line()}; the dataset keeps what it has of this file"
                ProgressLog(self._progress).note(line)


class KeepKnownTracks(beam.PTransform):
    """Adds the tracks of the newest version to those of this run.

    Takes and returns a dict with the collections "parts", "duplicates" and "dead_letters"; takes
    the "files" of the run, too, and returns "listed", the number of all files.
    """

    def __init__(self, table: str, *, progress: str | None = None) -> None:
        """Takes the table of tracks of that version, and the folder for progress, if there is one.

        A file that fails now, and is kept, is reported there.
        """
        super().__init__()
        self._table = table
        self._progress = progress

    def expand(self, made: Mapping[str, beam.PCollection]) -> dict[str, beam.PCollection]:
        """Returns the four outputs."""
        known = (
            made[FILES].pipeline
            | "NameTable" >> beam.Create([self._table], reshuffle=False)
            | "ReadTable" >> beam.FlatMap(known_tracks).with_output_types(PartRef | TrackSummary)
        )
        by_uri = {
            _KNOWN: known | "KnownByUri" >> _keyed(_uri_of, PartRef | TrackSummary),
            PARTS: made[PARTS] | "PartsByUri" >> _keyed(_uri_of, PartRef),
            DUPLICATES: made[DUPLICATES] | "DuplicatesByUri" >> _keyed(_uri_of, TrackSummary),
            DEAD_LETTERS: made[DEAD_LETTERS]
            | "LettersByUri" >> _keyed(lambda letter: letter.uri, DeadLetter),
        }
        chosen = (
            by_uri
            | "GroupByUri" >> beam.CoGroupByKey()
            | "Choose"
            >> beam.ParDo(_Choose(self._progress))
            .with_output_types(PartRef, duplicates=TrackSummary, dead_letters=DeadLetter)
            .with_outputs(DUPLICATES, DEAD_LETTERS, main=PARTS)
        )
        uris = (
            made[FILES] | "UriOfFile" >> beam.Map(_uri_of_file),
            known | "UriOfKnown" >> beam.Map(_uri_of).with_output_types(str),
        )
        listed = (
            uris
            | "AllUris" >> beam.Flatten()
            | "DistinctUris" >> beam.Distinct()
            | "CountUris" >> beam.combiners.Count.Globally()
        )
        return {
            PARTS: chosen[PARTS],
            DUPLICATES: chosen[DUPLICATES],
            DEAD_LETTERS: chosen[DEAD_LETTERS],
            LISTED: listed,
        }


def _uri_of_file(file: SourceFile) -> str:
    return file.uri


def _keyed(uri_of: Callable[[Any], str], element: Any) -> beam.PTransform:
    return beam.Map(lambda value: (uri_of(value), value)).with_output_types(tuple[str, element])
