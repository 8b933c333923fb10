"""The record table, against the paper's figures and what published datasets hold."""

from dataclasses import replace

import pyarrow as pa
import pytest

from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry
from singsong.schemas.recipe import EncodeRecipe
from singsong.schemas.records import (
    ROWS_PER_GROUP,
    SCHEMA_VERSION,
    Geometry,
    RecordField,
    part_fields,
    part_schema,
    record_fields,
    shard_fields,
    shard_schema,
)

PAPER = Geometry(
    acoustic=AcousticGeometry(
        sample_rate_hz=16000, hop_samples=320, codebooks=12, coarse_codebooks=4, codebook_size=1024
    ),
    semantic=SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=512),
)
SOURCES = ("vocals", "vocals_noisy", "instrumental")
CODES = [f"{source}_{kind}" for source in SOURCES for kind in ("semantic", "acoustic")]
MIX_FIGURES = ["mix_peak_rms_db", "mix_dc_offset", "mix_clipped_fraction", "mix_bandwidth_hz"]
VOCALS_FIGURES = [
    "vocals_peak_rms_db",
    "instrumental_peak_rms_db",
    "vocals_active_fraction",
    "vocals_lag_ms",
    "vocals_gain_in_mix",
    "vocals_excess_fraction",
    "vocals_above_mix_db",
]
LEVELS = [*MIX_FIGURES, *VOCALS_FIGURES]


def fields_of(**recipe: object) -> dict[str, RecordField]:
    fields = record_fields(replace(EncodeRecipe(), **recipe), PAPER)
    assert len({field.name for field in fields}) == len(fields)
    return {field.name: field for field in fields}


def test_a_record_of_the_paper() -> None:
    fields = fields_of(clip_seconds=10.0)
    text = ["clip_id", "track_id", "clip_index", "split", "status", "reason", "message", "start_s"]
    assert list(fields) == [*text, *LEVELS, *CODES]
    shapes = {name: (fields[name].shape, fields[name].codebook_size) for name in CODES}
    for source in SOURCES:
        assert shapes[f"{source}_semantic"] == ((250,), 512)
        assert shapes[f"{source}_acoustic"] == ((500, 12), 1024)
        assert fields[f"{source}_acoustic"].values == 6000
    assert fields["clip_id"].values == 1


def test_another_version_or_size_of_groups_is_another_format() -> None:
    """Readers of published datasets find a record by these numbers."""
    assert (SCHEMA_VERSION, ROWS_PER_GROUP) == (2, 256)


def test_fields_and_geometries_are_values() -> None:
    fields, again = fields_of(), fields_of()
    assert {hash(field) for field in fields.values()} == {hash(field) for field in again.values()}
    assert hash(PAPER) == hash(replace(PAPER))


def test_each_code_says_of_which_sound_it_is() -> None:
    fields = fields_of()
    sounds = {"vocals": "vocals", "vocals_noisy": "noisy vocals", "instrumental": "instrumental"}
    for source, sound in sounds.items():
        assert fields[f"{source}_semantic"].meaning == f"semantic codes of the {sound}"


def test_without_a_separator_there_is_one_source_and_its_figures() -> None:
    fields = fields_of(separator=None)
    figures = [name for name, field in fields.items() if field.kind == "float32"]
    assert figures == ["start_s", *MIX_FIGURES]
    codes = [name for name, field in fields.items() if field.kind == "codes"]
    assert len(codes) == 2
    assert not set(codes) & set(CODES)


def test_stored_audio_has_a_column_beside_each_code() -> None:
    added = fields_of(store_audio=True).keys() - fields_of(store_audio=False).keys()
    assert added == {f"{source}_audio" for source in SOURCES}
    assert fields_of(store_audio=True)["vocals_audio"].kind == "bytes"


def test_parts_hold_what_became_of_a_clip_and_shards_the_split() -> None:
    fields = list(fields_of().values())
    part = [field.name for field in part_fields(fields)]
    shard = [field.name for field in shard_fields(fields)]
    assert set(part) - set(shard) == {"status", "reason", "message"}
    assert set(shard) - set(part) == {"split"}
    assert part_schema(fields).names == part
    assert shard_schema(fields).names == shard


def test_codes_of_a_shard_have_one_size_and_are_never_null() -> None:
    fields = list(fields_of(clip_seconds=1.0).values())
    code = pa.field("code", pa.uint16(), nullable=False)
    assert shard_schema(fields).field("vocals_acoustic").type == pa.list_(code, 50 * 12)
    assert part_schema(fields).field("vocals_acoustic").type == pa.list_(code)
    types = {"clip_id": pa.string(), "clip_index": pa.int32(), "start_s": pa.float32()}
    for schema in (shard_schema(fields), part_schema(fields)):
        assert {name: schema.field(name).type for name in types} == types


def test_version_1_has_its_own_fields() -> None:
    fields = [field.name for field in record_fields(EncodeRecipe(), PAPER, schema_version=1)]
    text = ["clip_id", "track_id", "clip_index", "split", "status", "reason", "message", "start_s"]
    levels = ["mix_peak_rms_db", "vocals_peak_rms_db", "instrumental_peak_rms_db", "sum_error"]
    assert fields == [*text, *levels, *CODES]


@pytest.mark.parametrize(
    "geometry", [PAPER, replace(PAPER, semantic=replace(PAPER.semantic, hop_samples=320))]
)
def test_a_geometry_comes_back_from_json(geometry: Geometry) -> None:
    assert Geometry.from_json(geometry.to_json()) == geometry
