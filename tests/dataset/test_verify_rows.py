"""Damage inside files whose bytes are those of the manifest: only the rows can tell."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import singsong.dataset.shard_tables
from singsong.dataset.handle import Dataset
from singsong.dataset.manifest import commit_manifest, read_manifest
from singsong.dataset.tfrecord import Example, frame_record, read_records
from singsong.dataset.verify import verify_dataset
from singsong.schemas.elements import DeadLetter
from tests.dataset.test_verify import (
    dataset,  # noqa: F401
    problems,
    replace_bytes,
    rewrite,
    shard_of_format,
    with_values,
)
from tests.support.small_dataset import write_small_dataset


def rewrite_records(
    dataset: Path,  # noqa: F811
    change: Callable[[Any], object],
) -> str:
    """Changes the first record of a TFRecord shard, and returns the shard's path."""
    shard = shard_of_format(dataset, "tfrecord")
    with (dataset / shard.path).open("rb") as file:
        records = list(read_records(file))
    first = Example.FromString(records[0])
    change(first.features.feature)
    data = io.BytesIO()
    for record in [first.SerializeToString(deterministic=True), *records[1:]]:
        data.write(frame_record(record))
    replace_bytes(dataset, shard, data.getvalue())
    return shard.path


def damaged(dataset: Path, path: str, why: str) -> str:  # noqa: F811
    return f"{path}: cannot be read: {dataset / path} is damaged: {why}"


@pytest.mark.parametrize(
    "name", ["mix_dc_offset", "mix_peak_rms_db", "start_s", "track_id", "split"]
)
def test_an_empty_value_is_found(dataset: Path, name: str) -> None:  # noqa: F811
    shard = shard_of_format(dataset, "parquet")
    rewrite(
        dataset,
        shard,
        lambda table: with_values(table, name, [None, *table[name].to_pylist()[1:]]),
    )
    first, *others = problems(dataset)
    assert first == f"{shard.path}: {name} has 1 empty rows"
    assert all("keeps 2 clips, the parquet shards hold 1" in line for line in others)


@pytest.mark.parametrize("missing", [(0,), (1,), (1, 2), (-1,)])
def test_a_missing_clip_id_is_found(dataset: Path, missing: tuple[int, ...]) -> None:  # noqa: F811
    shard = shard_of_format(dataset, "parquet")

    def change(table: pa.Table) -> pa.Table:
        ids = table["clip_id"].to_pylist()
        for row in missing:
            ids[row] = None
        return with_values(table, "clip_id", ids)

    rewrite(dataset, shard, change)
    assert problems(dataset) == [
        f"{shard.path}: clip_id has {len(missing)} empty rows",
        "the parquet and the tfrecord shards hold different clips",
    ]


def test_codes_that_are_missing_are_found(dataset: Path) -> None:  # noqa: F811
    """Parquet readers refuse an empty row in a list of fixed size."""
    shard, name = shard_of_format(dataset, "parquet"), "vocals_acoustic"
    rewrite(
        dataset,
        shard,
        lambda table: with_values(table, name, [None, *table[name].to_pylist()[1:]]),
    )
    assert any(line.startswith(f"{shard.path}: cannot be read") for line in problems(dataset))


@pytest.mark.parametrize("batch_rows", [1, 2, 256])
def test_rows_in_another_order_are_found(
    dataset: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    batch_rows: int,
) -> None:
    """Also where two batches of rows meet."""
    monkeypatch.setattr(singsong.dataset.shard_tables, "ROWS_PER_GROUP", batch_rows)
    rewrite(dataset, shard_of_format(dataset, "parquet"), lambda table: table, batch_rows)
    assert problems(dataset) == []
    shard = shard_of_format(dataset, "parquet")
    order = [0, 2, 1, *range(3, shard.rows)]
    rewrite(dataset, shard, lambda table: table.take(order), batch_rows)
    assert set(problems(dataset)) == {f"{shard.path}: its rows are not sorted by clip id"}


def test_a_row_that_names_another_split_is_found(dataset: Path) -> None:  # noqa: F811
    shard = shard_of_format(dataset, "parquet")
    other = {"train": "test", "test": "train"}[shard.split]
    splits = [other, *[shard.split] * (shard.rows - 1)]
    rewrite(dataset, shard, lambda table: with_values(table, "split", splits))
    (problem,) = problems(dataset)
    assert f"says split {other}, the shard is of {shard.split}" in problem


def test_a_clip_in_two_shards_is_found(dataset: Path) -> None:  # noqa: F811
    """Beside its row count nothing else is wrong with either shard."""
    first, second = (
        shard
        for shard in read_manifest(str(dataset)).shards
        if (shard.split, shard.format) == ("train", "parquet")
    )
    tables: list[pa.Table] = []
    rewrite(dataset, first, lambda table: tables.append(table) or table)
    rewrite(
        dataset,
        second,
        lambda table: pa.concat_tables([table, tables[0].slice(0, 1)]).sort_by("clip_id"),
    )
    clip = tables[0]["clip_id"][0].as_py()
    assert f"{second.path}: clip {clip} is there twice" in problems(dataset)


def test_a_code_outside_its_codebook_is_found_in_a_record(dataset: Path) -> None:  # noqa: F811
    codes = np.full(40, 299, "<u2")
    codes[-1] = 300

    def change(feature: Any) -> None:
        feature["vocals_acoustic"].bytes_list.value[0] = codes.tobytes()

    path = rewrite_records(dataset, change)
    want = f"{path}: vocals_acoustic has code 300, its codebook has 300"
    assert problems(dataset) == [want]


def test_the_last_code_of_a_codebook_is_no_problem(dataset: Path) -> None:  # noqa: F811
    def change(feature: Any) -> None:
        feature["vocals_acoustic"].bytes_list.value[0] = np.full(40, 299, "<u2").tobytes()

    rewrite_records(dataset, change)
    assert problems(dataset) == []


def test_a_record_with_too_few_codes_is_found(dataset: Path) -> None:  # noqa: F811
    def change(feature: Any) -> None:
        feature["vocals_acoustic"].bytes_list.value[0] = bytes(78)

    path = rewrite_records(dataset, change)
    want = damaged(dataset, path, "vocals_acoustic must be (20, 2) in every record")
    assert want in problems(dataset)


def test_a_record_without_a_field_is_found(dataset: Path) -> None:  # noqa: F811
    path = rewrite_records(dataset, lambda feature: feature.pop("vocals_semantic"))
    want = damaged(dataset, path, "a record has no vocals_semantic")
    assert want in problems(dataset)


def test_records_cut_short_are_found(dataset: Path) -> None:  # noqa: F811
    shard = shard_of_format(dataset, "tfrecord")
    replace_bytes(dataset, shard, (dataset / shard.path).read_bytes()[:-1])
    want = damaged(dataset, shard.path, "the file ends inside a record")
    assert want in problems(dataset)


@pytest.mark.parametrize("name", ["parquet", "tfrecord"])
def test_a_wrong_number_of_rows_is_found(dataset: Path, name: str) -> None:  # noqa: F811
    manifest = read_manifest(str(dataset))
    shard = shard_of_format(dataset, name)
    more = dataclasses.replace(shard, rows=shard.rows + 1)
    shards = tuple(more if one == shard else one for one in manifest.shards)
    changed = Dataset(str(dataset), dataclasses.replace(manifest, shards=shards))
    lines = list(verify_dataset(changed))
    assert f"{shard.path}: holds {shard.rows} rows, the manifest says {more.rows}" in lines


def test_a_table_of_tracks_that_is_none_is_found(dataset: Path) -> None:  # noqa: F811
    replace_bytes(dataset, read_manifest(str(dataset)).table("tracks"), b"PAR1")
    (problem,) = problems(dataset)
    assert problem.startswith("the tables cannot be read")


def test_a_shard_that_may_not_be_read_is_found(dataset: Path) -> None:  # noqa: F811
    shard = shard_of_format(dataset, "parquet")
    (dataset / shard.path).unlink()
    (dataset / shard.path).mkdir()
    assert any(line.startswith(f"{shard.path}: cannot be read") for line in problems(dataset))


LETTERS = (
    DeadLetter(uri="z", stage="EncodeTracks", reason="corrupt", message="cut", track_id="ff"),
    DeadLetter(uri="x", stage="ListTracks", reason="empty", message="no bytes"),
)


def test_failed_tracks_are_accounted_for(tmp_path: Path) -> None:
    write_small_dataset(tmp_path, letters=LETTERS)
    assert problems(tmp_path) == []


def table_rows(folder: Path, name: str, change: Callable[[list[dict]], object]) -> None:
    """Changes the rows of a table."""

    def changed(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        change(rows)
        return pa.Table.from_pylist(rows, table.schema)

    rewrite(folder, read_manifest(str(folder)).table(name), changed)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows.pop(), "do not agree on tracks.listed: 8 -> 7"),
        (lambda rows: rows[0].update(kept_clips=1), "which is 2 clips, and 1 are accounted for"),
        (lambda rows: rows[0].update(kept_clips=1), "keeps 1 clips, the parquet shards hold 2"),
        (lambda rows: rows[0].update(seconds=3.5), "which is 3 clips, and 2 are accounted for"),
        (lambda rows: rows[0].update(tail_seconds=1.5), "which is 1 clips, and 2 are accounted"),
        (
            lambda rows: rows[0].update(kept_clips=1, failed_clips=[("non_finite", 1)]),
            "has 1 failed clips, and 0 dead letters",
        ),
        (
            lambda rows: rows[0].update(kept_clips=1, dropped_clips=[("vocals_too_loud", 1)]),
            "its part has (2, 0, 0) kept, dropped and failed clips, the table of tracks (1, 1, 0)",
        ),
    ],
)
def test_each_count_is_held_against_another(
    dataset: Path,  # noqa: F811
    change: Callable[[list[dict]], object],
    complaint: str,
) -> None:
    table_rows(dataset, "tracks", change)
    assert any(complaint in line for line in problems(dataset))


def test_a_broken_part_is_named_and_a_missing_one_is_no_problem(dataset: Path) -> None:  # noqa: F811
    gone, broken = sorted((dataset / "parts").rglob("*.parquet"))[:2]
    gone.unlink()
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 4
    broken.write_bytes(data)
    (problem,) = problems(dataset)
    assert broken.name in problem
    assert "makes it again" in problem


def test_a_stray_table_is_found_and_an_older_version_is_not_stray(
    dataset: Path,  # noqa: F811
) -> None:
    (dataset / "tables" / "stray.parquet").write_bytes(b"")
    assert problems(dataset) == ["tables/stray.parquet: no version of the dataset lists it"]
    (dataset / "tables" / "stray.parquet").unlink()
    manifest = read_manifest(str(dataset))
    fewer = dataclasses.replace(manifest, shards=manifest.shards[:1])
    commit_manifest(str(dataset), fewer)
    assert not [line for line in problems(dataset) if "no version" in line]


def test_each_file_is_reported_once_it_is_checked(dataset: Path) -> None:  # noqa: F811
    manifest = read_manifest(str(dataset))
    calls: list[None] = []
    list(verify_dataset(Dataset(str(dataset), manifest), on_file=lambda: calls.append(None)))
    assert len(calls) == len(manifest.shards) + len(manifest.tables)
