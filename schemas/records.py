"""The record table: every stored field, written down once.

The Parquet schema, the tf.train.Example, the table in README and the checks of `dataset verify` all
derive from `record_fields`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry, clip_samples
from singsong.schemas.recipe import EncodeRecipe

SCHEMA_VERSION = 2
"""Version of the record table that is written; `READABLE_VERSIONS` can be read."""

READABLE_VERSIONS = (1, 2)

ROWS_PER_GROUP = 256
"""Records in each row group of a Parquet shard, fewer in the last: where a record lies is known
from the number of rows alone."""


@dataclass(frozen=True, kw_only=True)
class RecordField:
    """One column of a part file or a shard.

    Attributes:
        name: The column.
        kind: "string", "int32", "float32", "codes" or "bytes".
        meaning: What it holds, with its unit.
        shape: Frames, or frames and codebooks, of codes; flattened in row-major order.
        codebook_size: Codes are smaller than this.
        where: "both", "part" or "shard".
        since: The first schema version that has it.
        until: The last schema version that has it; None if the newest does.
    """

    name: str
    kind: str
    meaning: str
    shape: tuple[int, ...] = ()
    codebook_size: int = 0
    where: str = "both"
    since: int = 1
    until: int | None = None

    def is_in(self, schema_version: int) -> bool:
        """Returns whether records of a schema version have this field."""
        return self.since <= schema_version and (self.until is None or schema_version <= self.until)

    @property
    def values(self) -> int:
        """Number of values in a row."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of the column in a shard."""
        return pa.list_(_CODE, self.values) if self.kind == "codes" else _ARROW_TYPES[self.kind]

    @property
    def part_arrow_type(self) -> pa.DataType:
        """Type of the column in a part, where a clip may have no codes.

        Parquet readers refuse an empty row in a list of fixed size.
        """
        return pa.list_(_CODE) if self.kind == "codes" else _ARROW_TYPES[self.kind]


_CODE = pa.field("code", pa.uint16(), nullable=False)
_ARROW_TYPES = {
    "string": pa.string(),
    "int32": pa.int32(),
    "float32": pa.float32(),
    "bytes": pa.binary(),
}


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The shapes of both kinds of codes.

    Attributes:
        acoustic: As the codec states it.
        semantic: As the encoder states it.
    """

    acoustic: AcousticGeometry
    semantic: SemanticGeometry

    def to_json(self) -> dict[str, Any]:
        """Returns the geometry as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Geometry:
        """Returns the geometry that `to_json` gave."""
        return cls(
            acoustic=AcousticGeometry(**value["acoustic"]),
            semantic=SemanticGeometry(**value["semantic"]),
        )


def record_fields(
    recipe: EncodeRecipe, geometry: Geometry, *, schema_version: int = SCHEMA_VERSION
) -> tuple[RecordField, ...]:
    """Returns the fields of a record, in the order of the columns.

    Args:
        recipe: Which sounds are encoded, and how long a clip is.
        geometry: The shapes of the codes.
        schema_version: The version of the record table.

    Paper: 3.2, 3.4 and 4.2; the featurizations are chosen when the records are read.
    """
    fields = [
        RecordField(name="clip_id", kind="string", meaning="id of the clip: track and index"),
        RecordField(name="track_id", kind="string", meaning="sha256 of the file's bytes"),
        RecordField(name="clip_index", kind="int32", meaning="position of the clip in the track"),
        RecordField(name="split", kind="string", meaning="split of the track", where="shard"),
        RecordField(
            name="status", kind="string", meaning="encoded, dropped or failed", where="part"
        ),
        RecordField(name="reason", kind="string", meaning="why it has no codes", where="part"),
        RecordField(name="message", kind="string", meaning="the failure in words", where="part"),
        RecordField(name="start_s", kind="float32", meaning="start in the track, s"),
        *_MIX_FIGURES,
        *(_SEPARATION_FIGURES if recipe.separator else ()),
    ]
    for source in recipe.sources:
        fields += _source_fields(source, recipe, geometry)
    return tuple(field for field in fields if field.is_in(schema_version))


def _figure(name: str, meaning: str, *, since: int = 2, until: int | None = None) -> RecordField:
    return RecordField(name=name, kind="float32", meaning=meaning, since=since, until=until)


_MIX_FIGURES = (
    _figure("mix_peak_rms_db", "peak RMS of the mix, dBFS", since=1),
    _figure("mix_dc_offset", "mean sample of the mix, full scale is 1"),
    _figure("mix_clipped_fraction", "part of the mix's samples that are clipped"),
    _figure("mix_bandwidth_hz", "highest frequency with energy in the mix, Hz"),
)
_SEPARATION_FIGURES = (
    _figure("vocals_peak_rms_db", "peak RMS of the vocals, dBFS", since=1),
    _figure("instrumental_peak_rms_db", "peak RMS of the instrumental, dBFS", since=1),
    _figure(
        "sum_error", "largest absolute sample of mix - (vocals + instrumental)", since=1, until=1
    ),
    _figure("vocals_active_fraction", "part of the clip in which the vocals are above -40 dBFS"),
    _figure("vocals_lag_ms", "how late the vocals are in the mix, ms"),
    _figure("vocals_gain_in_mix", "gain with which the mix holds the vocals"),
    _figure("vocals_excess_fraction", "part of the vocals' energy where they outweigh the mix"),
    _figure("vocals_above_mix_db", "most that the vocals rise above the mix around them, dB"),
)


def _source_fields(source: str, recipe: EncodeRecipe, geometry: Geometry) -> list[RecordField]:
    acoustic, semantic = geometry.acoustic, geometry.semantic
    semantic_frames = semantic.frames(clip_samples(recipe.clip_seconds, semantic.sample_rate_hz))
    acoustic_frames = acoustic.frames(clip_samples(recipe.clip_seconds, acoustic.sample_rate_hz))
    sound = "noisy vocals" if source == "vocals_noisy" else source
    fields = [
        RecordField(
            name=f"{source}_semantic",
            kind="codes",
            meaning=f"semantic codes of the {sound}",
            shape=(semantic_frames,),
            codebook_size=semantic.codebook_size,
        ),
        RecordField(
            name=f"{source}_acoustic",
            kind="codes",
            meaning=f"acoustic codes of the {sound}, all codebooks",
            shape=(acoustic_frames, acoustic.codebooks),
            codebook_size=acoustic.codebook_size,
        ),
    ]
    if recipe.store_audio:
        fields.append(
            RecordField(
                name=f"{source}_audio",
                kind="bytes",
                meaning=f"16-bit FLAC of the {sound} at {acoustic.sample_rate_hz} Hz",
            )
        )
    return fields


def part_fields(fields: Sequence[RecordField]) -> list[RecordField]:
    """Returns the fields of a part file."""
    return [field for field in fields if field.where != "shard"]


def shard_fields(fields: Sequence[RecordField]) -> list[RecordField]:
    """Returns the fields of a shard."""
    return [field for field in fields if field.where != "part"]


def shard_schema(fields: Sequence[RecordField]) -> pa.Schema:
    """Returns the Parquet schema of a shard."""
    return pa.schema([(field.name, field.arrow_type) for field in shard_fields(fields)])


def part_schema(fields: Sequence[RecordField]) -> pa.Schema:
    """Returns the Parquet schema of a part file."""
    return pa.schema([(field.name, field.part_arrow_type) for field in part_fields(fields)])


def fields_table(fields: Sequence[RecordField]) -> str:
    """Returns the fields as a Markdown table.

    >>> print(fields_table([RecordField(name="a", kind="int32", meaning="b")]))
    | field | type | shape | meaning |
    |---|---|---|---|
    | `a` | int32 |  | b |
    """
    rows = ["| field | type | shape | meaning |", "|---|---|---|---|"]
    for field in fields:
        kind = "uint16" if field.kind == "codes" else field.kind
        shape = " x ".join(map(str, field.shape))
        rows.append(f"| `{field.name}` | {kind} | {shape} | {field.meaning} |")
    return "\n".join(rows)
