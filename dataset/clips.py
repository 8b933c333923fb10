"""The records of a dataset as typed rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from singsong.schemas.arrays import CodeArray
from singsong.schemas.records import RecordField


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceCodes:
    """The codes of one sound of a clip.

    Attributes:
        semantic: uint16 [frames].
        acoustic: uint16 [frames, codebooks].
        flac: The sound before it was encoded, as a FLAC file; None unless the dataset stores audio.
    """

    semantic: CodeArray
    acoustic: CodeArray
    flac: bytes | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipRecord:
    """One clip of a dataset.

    Attributes:
        clip_id: Its id: track and index.
        track_id: Hex sha256 of the track's file.
        clip_index: Position in the track.
        split: The split of the track.
        start_s: Start in the track.
        mix_peak_rms_db: Peak RMS of the mix, dBFS.
        mix_dc_offset: Mean sample of the mix, full scale is 1; None in schema version 1.
        mix_clipped_fraction: Part of the mix's samples that are clipped; None in version 1.
        mix_bandwidth_hz: Highest frequency with energy in the mix; None in version 1.
        vocals_peak_rms_db: Peak RMS of the vocals, dBFS; None in a dataset without separation.
        instrumental_peak_rms_db: Peak RMS of the instrumental, dBFS; None without separation.
        sum_error: Largest absolute sample of mix - (vocals + instrumental); None without
            separation, and since version 2, where it would be the rounding of a sum.
        vocals_active_fraction: Part of the clip in which the vocals are above -40 dBFS; this and
            the following are None without separation and in version 1.
        vocals_lag_ms: How late the vocals are in the mix, ms; 0 where that cannot be told.
        vocals_gain_in_mix: Gain with which the mix holds the vocals: 1 or more if they are right.
        vocals_excess_fraction: Part of the vocals' energy where they outweigh the mix.
        vocals_above_mix_db: Most that the vocals rise above the mix around them, dB.
        codes: The codes of each sound, by its name: "vocals", "vocals_noisy" and "instrumental", or
            "mix" without separation.
    """

    clip_id: str
    track_id: str
    clip_index: int
    split: str
    start_s: float
    mix_peak_rms_db: float
    mix_dc_offset: float | None = None
    mix_clipped_fraction: float | None = None
    mix_bandwidth_hz: float | None = None
    vocals_peak_rms_db: float | None = None
    instrumental_peak_rms_db: float | None = None
    sum_error: float | None = None
    vocals_active_fraction: float | None = None
    vocals_lag_ms: float | None = None
    vocals_gain_in_mix: float | None = None
    vocals_excess_fraction: float | None = None
    vocals_above_mix_db: float | None = None
    codes: Mapping[str, SourceCodes]


def column_values(table: pa.Table, field: RecordField) -> Any:
    """Returns a column: codes as uint16 [rows, *shape], which must not be written to, or a list."""
    column = table.column(field.name)
    if field.kind != "codes":
        return column.to_pylist()
    codes = [chunk.flatten().to_numpy() for chunk in column.chunks]
    joined = codes[0] if len(codes) == 1 else np.concatenate([np.empty(0, np.uint16), *codes])
    return joined.reshape(len(column), *field.shape)


def clip_records(
    table: pa.Table, fields: Sequence[RecordField], sources: Sequence[str]
) -> Iterator[ClipRecord]:
    """Yields the rows of a shard's table.

    Args:
        table: Columns as `fields` say, without nulls.
        fields: The fields of the shard.
        sources: The sounds of a clip.
    """
    columns = {field.name: column_values(table, field) for field in fields}
    of_source = {f"{source}_{kind}" for source in sources for kind in _KINDS}
    plain = [name for name in columns if name not in of_source]
    for row in range(table.num_rows):
        codes = {
            source: SourceCodes(
                semantic=columns[f"{source}_semantic"][row],
                acoustic=columns[f"{source}_acoustic"][row],
                flac=columns[f"{source}_audio"][row] if f"{source}_audio" in columns else None,
            )
            for source in sources
        }
        yield ClipRecord(**{name: columns[name][row] for name in plain}, codes=codes)


_KINDS = ("semantic", "acoustic", "audio")
