"""Part files on disk: written whole, sealed with a checksum, and opened only if it holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from singsong import storage
from singsong.dataset.manifest import DatasetError
from singsong.dataset.parquet_files import ParquetReader, open_parquet
from singsong.dataset.part_seal import SEAL_KEY, UNSEALED, check_seal, seal
from singsong.schemas.arrays import CodeArray
from singsong.schemas.part_row import PartRow, stored_value
from singsong.schemas.records import RecordField, part_fields, part_schema

_FACTS_KEY = "singsong.track"
_ROWS_PER_GROUP = 64


@dataclass(frozen=True, kw_only=True)
class TrackFacts:
    """Facts about a track, known once it is decoded.

    Attributes:
        track_id: Hex sha256 of the file's bytes.
        audio_sha256: Hex digest of the decoded audio.
        samples: How many samples were decoded, at the rate of the recipe.
        rate_hz: That rate.
        clip_samples: Samples of a clip.
        made_with: What made the part: versions of the libraries and the kind of processor. There
            are two where codes were added later by another machine.
        cut_short: Whether the file ends before its audio does, or states more than it holds.
    """

    track_id: str
    audio_sha256: str
    samples: int
    rate_hz: int
    clip_samples: int
    made_with: tuple[str, ...] = ()
    cut_short: bool = False

    @property
    def clips(self) -> int:
        """How many whole clips the samples make: the part has a row for each."""
        return self.samples // self.clip_samples

    @property
    def seconds(self) -> float:
        """Length of the track."""
        return self.samples / self.rate_hz

    @property
    def tail_seconds(self) -> float:
        """Length of the rest that fills no clip."""
        return self.samples % self.clip_samples / self.rate_hz


class Part:
    """A part file that was opened and whose checksum holds.

    Attributes:
        reader: Its rows.
        facts: What it says about its track.
    """

    def __init__(self, reader: ParquetReader, facts: TrackFacts) -> None:
        self.reader, self.facts = reader, facts


def rows_to_table(rows: Sequence[PartRow], fields: Sequence[RecordField]) -> pa.Table:
    """Returns rows of a part as an Arrow table.

    Args:
        rows: The rows; those without codes have null there.
        fields: The record table.

    Raises:
        ValueError: Codes have another shape than the field says, or rows have no such field.
    """
    columns = [
        _codes_column([row.codes.get(field.name) for row in rows], field)
        if field.kind == "codes"
        else pa.array([stored_value(row, field) for row in rows], field.part_arrow_type)
        for field in part_fields(fields)
    ]
    return pa.Table.from_arrays(columns, schema=part_schema(fields))


def _codes_column(values: Sequence[CodeArray | None], field: RecordField) -> pa.Array:
    for value in values:
        if value is not None and value.shape != field.shape:
            raise ValueError(f"{field.name} must be {field.shape}, found {value.shape}")
    codes = [value.reshape(-1) for value in values if value is not None]
    lengths = [0 if value is None else value.size for value in values]
    return pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()),
        pa.array(np.concatenate(codes) if codes else [], pa.uint16()),
        type=field.part_arrow_type,
        mask=pa.array([value is None for value in values], pa.bool_()),
    )


def write_part(
    url: str,
    rows: Iterable[PartRow],
    *,
    fields: Sequence[RecordField],
    facts: Callable[[], TrackFacts],
) -> None:
    """Writes a part, whole or not at all, a row group at a time.

    Args:
        url: The target.
        rows: The clips in their order; consumed once.
        fields: The record table.
        facts: Called when the rows are exhausted; describes the track.

    Raises:
        OSError: The disk is full, or the target cannot be written.
        ClipError: Raised by `rows`; nothing is written then.
    """
    tables = (rows_to_table(group, fields) for group in _groups(rows, _ROWS_PER_GROUP))
    _write_tables(url, tables, schema=part_schema(fields), facts=facts)


def extend_part(
    url: str,
    rows: Iterable[PartRow],
    *,
    positions: Sequence[int],
    fields: Sequence[RecordField],
    facts: Callable[[], TrackFacts],
) -> None:
    """Writes a part again with some of its rows replaced by rows that have codes.

    Args:
        url: The part.
        rows: The new rows, in order; consumed once.
        positions: Where they go, ascending.
        fields: The record table.
        facts: Called when the rows are exhausted; describes the track and what made the new rows.

    Raises:
        DatasetError: The part is damaged, or is that of other audio.
        OSError: The part cannot be read or written.
        ClipError: Raised by `rows`; the part stays as it is.
    """
    with open_part(url) as part:

        def joined_facts() -> TrackFacts:
            fresh, before = facts(), part.facts
            if (fresh.audio_sha256, fresh.samples) != (before.audio_sha256, before.samples):
                raise DatasetError(f"{url} is not of the audio that its track has now")
            made_with = tuple(sorted({*before.made_with, *fresh.made_with}))
            return replace(fresh, made_with=made_with)

        tables = _replaced(part.reader, iter(rows), positions=positions, fields=fields)
        _write_tables(url, tables, schema=part_schema(fields), facts=joined_facts)


def _replaced(
    part: ParquetReader,
    rows: Iterator[PartRow],
    *,
    positions: Sequence[int],
    fields: Sequence[RecordField],
) -> Iterator[pa.Table]:
    start = 0
    for table in part.row_groups(part_schema(fields).names):
        order = np.arange(len(table))
        inside = [at - start for at in positions if start <= at < start + len(table)]
        order[inside] = len(table) + np.arange(len(inside))
        start += len(table)
        fresh = rows_to_table([next(rows) for _ in inside], fields)
        yield pa.concat_tables([table.cast(fresh.schema), fresh]).take(pa.array(order))
    for _ in rows:  # runs what follows the last row: the facts are known then
        raise ValueError("there are more new rows than positions")


def _write_tables(
    url: str, tables: Iterable[pa.Table], *, schema: pa.Schema, facts: Callable[[], TrackFacts]
) -> None:
    with storage.spooled_file() as file:
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=_ROWS_PER_GROUP)
            writer.add_key_value_metadata(
                {_FACTS_KEY: json.dumps(asdict(facts())), SEAL_KEY: UNSEALED}
            )
        seal(file)
        storage.put_file(url, file)


def _groups(rows: Iterable[PartRow], size: int) -> Iterator[list[PartRow]]:
    group: list[PartRow] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


@contextmanager
def open_part(url: str) -> Iterator[Part]:
    """Yields a part, of which every byte was checked; a remote one is copied once.

    Raises:
        DatasetError: The file is damaged, or is not a part.
        OSError: It cannot be read.
    """
    with storage.local_copy(url) as path:
        check_seal(path, name=url)
        reader = open_parquet(path)
        text = (reader.metadata.metadata or {}).get(_FACTS_KEY.encode())
        if text is None:
            raise DatasetError(f"{url} is not a part file: it does not describe a track")
        facts = json.loads(text)
        yield Part(reader, TrackFacts(**{**facts, "made_with": tuple(facts["made_with"])}))
