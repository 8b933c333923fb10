"""Damage is found before a record is given out, wherever the shards lie."""

import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.support.code_dataset import write_dataset
from singsong import storage
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import DatasetError, ShardEntry, read_manifest
from singsong.dataset.shard_reader import ShardReader

REMOTE = "memory://bucket/dataset"


def chunk_of_vocals(path: Path) -> pq.ColumnChunkMetaData:
    """Returns where the acoustic codes of the vocals lie in the second row group."""
    group = pq.read_metadata(path).row_group(1)
    columns = [group.column(number) for number in range(group.num_columns)]
    return next(one for one in columns if one.path_in_schema.startswith("vocals_acoustic"))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "dataset", clips=600, shards=1)
    return tmp_path / "dataset"


@pytest.fixture
def remote(dataset: Path) -> Iterator[str]:
    """Returns the same dataset in a store that is not a disk."""
    fs = fsspec.filesystem("memory")
    fs.put(str(dataset), "/bucket/dataset", recursive=True)
    yield REMOTE
    fs.rm("/bucket", recursive=True)


def reader_of(dataset: Path | str, *, cache: Path | None = None) -> ShardReader:
    manifest = read_manifest(str(dataset))
    fields = [field for field in open_dataset(str(dataset)).fields if field.name != "split"]
    return ShardReader(
        str(dataset),
        manifest.shards,
        fields=fields,
        cache=str(cache) if cache else None,
        verified=set(),
    )


def rewrite(dataset: Path, **changes: object) -> ShardReader:
    """Writes a shard in another way and reads it as if the manifest knew."""
    manifest = read_manifest(str(dataset))
    path = dataset / manifest.shards[0].path
    pq.write_table(changes.pop("table", pq.read_table(path)), path, **changes)
    sha256, size = storage.sha256_of(str(path))
    entry = ShardEntry(**{**vars(manifest.shards[0]), "sha256": sha256, "bytes": size})
    fields = open_dataset(str(dataset)).fields
    return ShardReader(str(dataset), [entry], fields=fields, cache=None, verified=set())


def flip_a_bit(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_row_groups_are_those_of_pyarrow(dataset: Path) -> None:
    reader = reader_of(dataset)
    table = pq.read_table(dataset / read_manifest(str(dataset)).shards[0].path)
    for group, rows in enumerate([256, 256, 88]):
        read = reader.read(0, group)
        want = table.slice(256 * group, rows)
        assert read["clip_id"] == want["clip_id"].to_pylist()
        assert read["vocals_acoustic"].shape == (rows, 4, 3)
        assert read["vocals_acoustic"].reshape(rows, -1).tolist() == (
            want["vocals_acoustic"].to_pylist()
        )


def test_a_flipped_bit_is_found_when_its_page_is_read(dataset: Path) -> None:
    shard = read_manifest(str(dataset)).shards[0]
    path = dataset / shard.path
    chunk = chunk_of_vocals(path)
    flip_a_bit(path, chunk.data_page_offset + chunk.total_compressed_size // 2)
    reader = reader_of(dataset)
    reader.read(0, 0)
    with pytest.raises(DatasetError, match=f"{shard.path} is damaged.*CRC"):
        reader.read(0, 1)


def test_a_flipped_bit_is_found_where_nothing_is_read(dataset: Path) -> None:
    shard = read_manifest(str(dataset)).shards[0]
    path = dataset / shard.path
    chunk = chunk_of_vocals(path)
    flip_a_bit(path, chunk.data_page_offset + chunk.total_compressed_size // 2)
    reader = reader_of(dataset)
    reader.read(0, 0)
    reader.check([0])  # nobody began to
    reader.begin_checks([0])
    with pytest.raises(DatasetError, match=f"{shard.path} is damaged.*{shard.sha256[:12]}"):
        reader.check([0])


def test_a_shard_cut_short_and_a_missing_one(dataset: Path) -> None:
    path = dataset / read_manifest(str(dataset)).shards[0].path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="damaged"):
        reader_of(dataset).read(0, 0)
    path.unlink()
    with pytest.raises(DatasetError, match=f"{path} is missing"):
        reader_of(dataset).read(0, 0)


def test_a_shard_is_hashed_once(dataset: Path) -> None:
    reader = reader_of(dataset)
    with mock.patch(
        "singsong.dataset.shard_reader.storage.sha256_of", wraps=storage.sha256_of
    ) as hashed:
        threads = [threading.Thread(target=reader.read, args=(0, group)) for group in (0, 1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reader.begin_checks([0])
        reader.begin_checks([0])
        reader.check([0])
        reader.keep([])
        reader.read(0, 1)
        reader.begin_checks([0])
        reader.close()
    assert hashed.call_count == 1


def test_other_row_groups_are_said(dataset: Path) -> None:
    with pytest.raises(DatasetError, match=r"\[300, 300\] rows, its 600 rows need \[256, 256, 88"):
        rewrite(dataset, row_group_size=300).read(0, 0)


def test_another_type_is_said(dataset: Path) -> None:
    path = dataset / read_manifest(str(dataset)).shards[0].path
    table = pq.read_table(path)
    at = table.schema.get_field_index("start_s")
    longer = table.set_column(at, "start_s", table["start_s"].cast(pa.float64()))
    with pytest.raises(DatasetError, match="start_s is double, not float"):
        rewrite(dataset, table=longer, row_group_size=256).read(0, 0)


def test_a_column_that_is_not_there_is_said(dataset: Path) -> None:
    path = dataset / read_manifest(str(dataset)).shards[0].path
    table = pq.read_table(path).drop_columns(["vocals_lag_ms"])
    with pytest.raises(DatasetError, match="vocals_lag_ms is missing"):
        rewrite(dataset, table=table, row_group_size=256).read(0, 0)


def test_a_remote_shard_is_read_and_checked(dataset: Path, remote: str) -> None:
    here, there = reader_of(dataset).read(0, 2), reader_of(remote).read(0, 2)
    assert here["clip_id"] == there["clip_id"]
    assert (here["vocals_acoustic"] == there["vocals_acoustic"]).all()
    shard = read_manifest(remote).shards[0]
    flip_a_bit(dataset / shard.path, 1000)
    fsspec.filesystem("memory").put(str(dataset / shard.path), f"/bucket/dataset/{shard.path}")
    with pytest.raises(DatasetError, match=f"{remote}/{shard.path} is damaged"):
        reader_of(remote).read(0, 2)
    fsspec.filesystem("memory").rm(f"/bucket/dataset/{shard.path}")
    with pytest.raises(DatasetError, match=f"{remote}/{shard.path} is missing"):
        reader_of(remote).read(0, 2)


def test_a_cache_is_filled_once(dataset: Path, remote: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    want = reader_of(dataset).read(0, 1)
    read = reader_of(remote, cache=cache).read(0, 1)
    assert (read["vocals_acoustic"] == want["vocals_acoustic"]).all()
    shard = read_manifest(remote).shards[0]
    assert [path.name for path in cache.iterdir()] == [f"{shard.sha256}.parquet"]
    reader = reader_of(remote, cache=cache)
    fsspec.filesystem("memory").rm(f"/bucket/dataset/{shard.path}")
    assert (reader.read(0, 1)["vocals_acoustic"] == want["vocals_acoustic"]).all()


def test_damage_in_the_cache_is_found(remote: str, tmp_path: Path) -> None:
    reader_of(remote, cache=tmp_path).read(0, 0)
    (copy,) = tmp_path.glob("*.parquet")
    flip_a_bit(copy, copy.stat().st_size // 2)
    reader = reader_of(remote, cache=tmp_path)
    reader.read(0, 0)
    reader.begin_checks([0])
    with pytest.raises(DatasetError, match=f"{copy} is damaged"):
        reader.check([0])


def test_a_download_that_fails_leaves_nothing(remote: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shard = read_manifest(remote).shards[0]
    fsspec.filesystem("memory").pipe(f"/bucket/dataset/{shard.path}", b"half")
    with pytest.raises(DatasetError, match="damaged"):
        reader_of(remote, cache=cache).read(0, 0)
    assert list(cache.glob("*.parquet")) == []
