"""The Parquet file of a shard: sizes of its row groups, and checksums of its pages."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import singsong.dataset.shard_writer
from benchmarks.support.code_dataset import write_dataset


def shard_of(folder: Path, *, clips: int, clips_per_track: int) -> Path:
    manifest = write_dataset(folder, clips=clips, shards=1, clips_per_track=clips_per_track)
    (shard,) = manifest.shards
    return folder / shard.path


@pytest.mark.parametrize(
    ("clips", "clips_per_track", "sizes"),
    [(12, 4, [4, 4, 4]), (12, 3, [4, 4, 4]), (13, 4, [4, 4, 4, 1]), (13, 7, [4, 4, 4, 1])],
)
def test_row_groups_have_one_size_and_none_is_empty(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clips: int,
    clips_per_track: int,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(singsong.dataset.shard_writer, "ROWS_PER_GROUP", 4)
    shard = shard_of(tmp_path, clips=clips, clips_per_track=clips_per_track)
    metadata = pq.ParquetFile(shard).metadata
    found = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    assert found == sizes


def test_a_reader_can_check_each_page(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, clips=5, clips_per_track=5)
    column = pq.ParquetFile(shard).metadata.row_group(0).column(0)
    data = bytearray(shard.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    data[first + column.total_compressed_size - 1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(shard, columns=["clip_id"], page_checksum_verification=True)
