"""Each way a dataset can be damaged is found, and the message names the file."""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from singsong.commands import cli
from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.manifest import (
    FileEntry,
    Manifest,
    ShardEntry,
    commit_manifest,
    read_manifest,
)
from singsong.dataset.verify import verify_dataset
from tests.support.small_dataset import write_small_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_small_dataset(tmp_path / "dataset")
    return tmp_path / "dataset"


def problems(dataset: Path) -> list[str]:
    return list(verify_dataset(open_dataset(str(dataset))))


def shard_of_format(dataset: Path, name: str, number: int = 0) -> ShardEntry:
    manifest = read_manifest(str(dataset))
    return [shard for shard in manifest.shards if shard.format == name][number]


def replace_bytes(dataset: Path, entry: FileEntry, data: bytes) -> None:
    """Changes a file and lets the manifest say so, so that only the content is wrong."""
    (dataset / entry.path).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    changed = dataclasses.replace(entry, sha256=sha256, bytes=len(data))
    manifest = read_manifest(str(dataset))
    shards = tuple(changed if one == entry else one for one in manifest.shards)
    tables = tuple(changed if one == entry else one for one in manifest.tables)
    commit_manifest(str(dataset), dataclasses.replace(manifest, shards=shards, tables=tables))


def rewrite(
    dataset: Path,
    entry: FileEntry,
    change: Callable[[pa.Table], pa.Table],
    group_rows: int | None = None,
) -> None:
    """Changes a Parquet file and lets the manifest say so."""
    data, table = io.BytesIO(), change(pq.read_table(dataset / entry.path))
    pq.write_table(table, data, row_group_size=group_rows)
    replace_bytes(dataset, entry, data.getvalue())


def with_values(table: pa.Table, name: str, values: list) -> pa.Table:
    index = table.schema.get_field_index(name)
    return table.set_column(index, table.schema.field(index), pa.array(values, table[name].type))


def test_a_whole_dataset_has_no_problem(dataset: Path) -> None:
    assert problems(dataset) == []
    assert len({shard.split for shard in read_manifest(str(dataset)).shards}) == 2


@pytest.mark.parametrize("name", ["parquet", "tfrecord"])
def test_a_flipped_bit_is_found(dataset: Path, name: str) -> None:
    shard = shard_of_format(dataset, name)
    data = bytearray((dataset / shard.path).read_bytes())
    data[len(data) // 2] ^= 1
    (dataset / shard.path).write_bytes(data)
    (problem,) = [line for line in problems(dataset) if shard.path in line]
    assert "sha256" in problem
    assert cli.main(["dataset", "verify", str(dataset)]) == 1


def test_a_shard_cut_short_and_a_missing_one_are_found(dataset: Path) -> None:
    cut, gone = shard_of_format(dataset, "parquet"), shard_of_format(dataset, "tfrecord")
    (dataset / cut.path).write_bytes((dataset / cut.path).read_bytes()[:-10])
    (dataset / gone.path).unlink()
    lines = problems(dataset)
    assert f"{cut.path}: has {cut.bytes - 10} bytes, the manifest says {cut.bytes}" in lines
    assert f"{gone.path}: is missing" in lines


def test_a_changed_table_is_found(dataset: Path) -> None:
    table = read_manifest(str(dataset)).table("tracks")
    (dataset / table.path).write_bytes(b"PAR1")
    assert f"{table.path}: has 4 bytes, the manifest says {table.bytes}" in problems(dataset)


def test_an_unlisted_file_is_found(dataset: Path) -> None:
    (dataset / "shards" / "stray.parquet").write_bytes(b"")
    assert problems(dataset) == ["shards/stray.parquet: no version of the dataset lists it"]


def test_a_missing_row_is_found(dataset: Path) -> None:
    shard = shard_of_format(dataset, "parquet")
    rewrite(dataset, shard, lambda table: table.slice(1))
    lines = problems(dataset)
    rows = shard.rows
    assert f"{shard.path}: holds {rows - 1} rows, the manifest says {rows}" in lines
    assert any(line.endswith("shards hold different clips") for line in lines)


def test_a_row_that_is_there_twice_is_found(dataset: Path) -> None:
    shard = shard_of_format(dataset, "parquet")
    rewrite(dataset, shard, lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    lines = problems(dataset)
    assert any("is there twice" in line and shard.path in line for line in lines)
    assert f"{shard.path}: its rows are not sorted by clip id" in lines


def test_a_code_outside_its_codebook_is_found(dataset: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index("vocals_acoustic")
        column = table.column(index).combine_chunks()
        codes = column.flatten().to_numpy().copy()
        codes[3] = 300
        changed = pa.FixedSizeListArray.from_arrays(pa.array(codes), type=column.type)
        return table.set_column(index, table.schema.field(index), changed)

    shard = shard_of_format(dataset, "parquet")
    rewrite(dataset, shard, change)
    want = f"{shard.path}: vocals_acoustic has code 300, its codebook has 300"
    assert want in problems(dataset)


def test_another_number_of_frames_is_found(dataset: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index("vocals_semantic")
        kind = pa.list_(pa.field("code", pa.uint16(), nullable=False), 5)
        codes = pa.array(np.zeros(5 * table.num_rows, np.uint16))
        return table.set_column(
            index, "vocals_semantic", pa.FixedSizeListArray.from_arrays(codes, type=kind)
        )

    shard = shard_of_format(dataset, "parquet")
    rewrite(dataset, shard, change)
    assert any(
        line.startswith(f"{shard.path}: cannot be read: the schema of ")
        for line in problems(dataset)
    )


def test_a_track_in_two_splits_is_found(dataset: Path) -> None:
    train = next(
        shard
        for shard in read_manifest(str(dataset)).shards
        if (shard.split, shard.format) == ("train", "parquet")
    )
    test = next(
        shard
        for shard in read_manifest(str(dataset)).shards
        if (shard.split, shard.format) == ("test", "parquet")
    )
    leaked = pq.read_table(dataset / train.path).slice(0, 1)
    rewrite(dataset, test, lambda table: pa.concat_tables([leaked, table]))
    lines = problems(dataset)
    assert any("is in the splits" in line for line in lines)
    assert any("says split train, the shard is of test" in line for line in lines)


def test_one_recording_in_two_splits_is_found(dataset: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return with_values(table, "audio_sha256", ["ab" * 32] * table.num_rows)

    rewrite(dataset, read_manifest(str(dataset)).table("tracks"), change)
    assert any(line.startswith("recording abababababab is in") for line in problems(dataset))


def test_a_duplicate_of_a_recording_has_no_split_and_is_no_problem(dataset: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[1].update(status="duplicate", split="", audio_sha256=rows[0]["audio_sha256"])
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(dataset, read_manifest(str(dataset)).table("tracks"), change)
    assert not any("recording" in line for line in problems(dataset))


def test_counts_that_do_not_add_up_are_found(dataset: Path) -> None:
    manifest = read_manifest(str(dataset))
    value = json.loads(manifest.to_json())
    value["counts"]["tracks"]["listed"] += 1
    value["splits"]["train"]["clips"] += 1
    changed = Manifest.from_json(json.dumps(value))
    lines = list(verify_dataset(Dataset(str(dataset), changed)))
    assert "the manifest and the table of tracks do not agree on tracks.listed: 9 -> 8" in lines
    assert sum(line.startswith("split train has") for line in lines) == 2


def test_no_dataset_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("show", "verify", "versions", "preview"):
        assert cli.main(["dataset", action, str(tmp_path)]) == 1
        assert "does not exist" in capsys.readouterr().err
