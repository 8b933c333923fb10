"""Tracks of an earlier version of the dataset, reused without reading their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam

from singsong import storage
from singsong.dataset.tables import read_tracks
from singsong.schemas.elements import PartRef, Track, TrackSummary
from singsong.schemas.outcomes import TrackStatus

PARTS, DUPLICATES, LISTED = "parts", "duplicates", "listed"


def known_tracks(table: str, *, except_uris: frozenset[str]) -> Iterator[PartRef | TrackSummary]:
    """Yields the part of each track in a table, or the summary of a duplicate without one.

    Args:
        table: The table of tracks of a version.
        except_uris: Files to leave out, and folders with all that is in them.

    Raises:
        DatasetError: The table is damaged.
        OSError: It cannot be read.
    """
    for row in read_tracks(table):
        if row.uri in except_uris or any(folder in except_uris for folder in _folders(row.uri)):
            continue
        if row.part:
            track = Track(track_id=row.track_id, uri=row.uri, size_bytes=0)
            yield PartRef(track=track, path=row.part)
        elif row.status == TrackStatus.DUPLICATE:
            yield row


def _folders(uri: str) -> Iterator[str]:
    """Yields the folders that a file lies in, the nearest first, as a listing names them."""
    local = storage.is_local(uri)
    folder = storage.local_path(uri) if local else uri
    while folder := folder.rpartition("/")[0]:
        yield storage.url_of(folder) if local else folder


class _Divide(beam.DoFn):
    def process(self, known: PartRef | TrackSummary) -> Iterator[object]:
        if isinstance(known, PartRef):
            yield known
        else:
            yield beam.pvalue.TaggedOutput(DUPLICATES, known)


class ReadKnownTracks(beam.PTransform):
    """Reads the table of tracks of an earlier version; None reads nothing.

    Returns a dict with the outputs "parts", "duplicates" and "listed", the number of both.
    """

    def __init__(self, table: str | None, *, except_uris: Sequence[str] = ()) -> None:
        super().__init__()
        self._except_uris = frozenset(except_uris)
        self._tables = [] if table is None else [table]

    def expand(self, pipeline: beam.Pipeline) -> dict[str, beam.PCollection]:
        """Returns the three outputs."""
        known = (
            pipeline
            | "NameTable" >> beam.Create(self._tables, reshuffle=False).with_output_types(str)
            | "ReadTable"
            >> beam.FlatMap(known_tracks, except_uris=self._except_uris).with_output_types(
                PartRef | TrackSummary
            )
        )
        divided = known | "DivideKnown" >> beam.ParDo(_Divide()).with_output_types(
            PartRef, duplicates=TrackSummary
        ).with_outputs(DUPLICATES, main=PARTS)
        return {
            PARTS: divided[PARTS],
            DUPLICATES: divided[DUPLICATES],
            LISTED: known | "CountKnown" >> beam.combiners.Count.Globally(),
        }
