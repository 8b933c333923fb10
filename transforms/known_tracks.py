"""Tracks that an earlier version of the dataset holds, taken over without another look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import apache_beam as beam
import pyarrow.parquet as pq

from singsong import storage
from singsong.schemas.elements import PartRef, Track, TrackSummary

PARTS, DUPLICATES, LISTED = "parts", "duplicates", "listed"


def known_tracks(table: str, *, except_uris: frozenset[str]) -> Iterator[PartRef | TrackSummary]:
    """Yields what the tracks of a table became: a part, or a duplicate without one.

    Args:
        table: The table of tracks of a version.
        except_uris: Files to leave out.

    Raises:
        OSError: The table cannot be read.
    """
    with storage.open_read(table) as file:
        rows = pq.read_table(file).to_pylist()
    for row in rows:
        if row["uri"] in except_uris:
            continue
        if row["part"]:
            track = Track(track_id=row["track_id"], uri=row["uri"], size_bytes=0)
            yield PartRef(track=track, path=row["part"])
        elif row["status"] == "duplicate":
            yield TrackSummary(
                uri=row["uri"],
                track_id=row["track_id"],
                status="duplicate",
                duplicate_of=row["duplicate_of"],
            )


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
