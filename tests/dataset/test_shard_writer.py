"""A shard holds the kept rows of its parts, in order and alike in every format."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import singsong.dataset.part_files
import singsong.dataset.shard_writer
from singsong.dataset.manifest import ShardEntry
from singsong.dataset.part_files import TrackFacts, rows_to_table, write_part
from singsong.dataset.shard_writer import ShardSource, write_shard
from singsong.dataset.tfrecord import decode_example, read_records
from singsong.schemas.outcomes import ClipStatus, FailureReason
from singsong.schemas.records import record_fields, shard_fields
from tests.support.part_rows import part_row
from tests.support.small_dataset import MODELS, RECIPE

FIELDS = record_fields(RECIPE.encode, MODELS.geometry)
TRACKS = ("c" * 64, "a" * 64, "b" * 64)


def row(track: str, index: int) -> dict:
    """A row in which no two fields, clips or tracks share a value."""
    base = 1000 * index + 100 * TRACKS.index(track)
    values = {
        "clip_id": f"{track[:32]}-{index:06d}",
        "track_id": track,
        "clip_index": index,
        "status": ClipStatus.ENCODED,
        "reason": "",
        "message": "",
    }
    for number, field in enumerate(FIELDS):
        if field.kind == "codes":
            values[field.name] = (np.arange(field.values) + base + number).astype(np.uint16)
            values[field.name] = values[field.name].reshape(field.shape)
        elif field.kind == "float32":
            values[field.name] = float(base + number)
    return values


def write_parts(folder: Path, clips: int, *, failed: Sequence[int] = ()) -> None:
    for track in TRACKS:
        facts = TrackFacts(
            track_id=track, audio_sha256="", samples=clips, rate_hz=1, clip_samples=1
        )
        rows = [part_row(row(track, index)) for index in range(clips)]
        for index in failed:
            rows[index].status = ClipStatus.FAILED
            rows[index].reason = FailureReason.NON_FINITE
        url = str(folder / f"{track[0]}.parquet")
        write_part(url, rows, fields=FIELDS, facts=lambda facts=facts: facts)


def write(folder: Path, kept: Sequence[int], tracks: Sequence[str] = TRACKS) -> list[ShardEntry]:
    return write_shard(
        [ShardSource(track_id=t, path=f"{t[0]}.parquet", kept=tuple(kept)) for t in tracks],
        dataset=str(folder / "dataset"),
        parts=str(folder),
        fields=FIELDS,
        formats=("parquet", "tfrecord"),
        split="test",
        shard=3,
        shards=8,
    )


def wanted(kept: Sequence[int]) -> list[dict]:
    rows = [row(track, index) for track in sorted(TRACKS) for index in kept]
    names = [field.name for field in shard_fields(FIELDS)]
    return [{name: {**values, "split": "test"}[name] for name in names} for values in rows]


def parquet_rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def tfrecord_rows(path: Path) -> list[dict]:
    with path.open("rb") as file:
        return [decode_example(record) for record in read_records(file)]


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(singsong.dataset.part_files, "_ROWS_PER_GROUP", 3)
    monkeypatch.setattr(singsong.dataset.shard_writer, "ROWS_PER_GROUP", 4)


@pytest.mark.parametrize("kept", [range(7), [0, 2, 3, 6], [5], [0, 1, 2, 4]])
def test_each_format_holds_the_kept_rows_in_order(
    small_groups: None, tmp_path: Path, kept: Sequence[int]
) -> None:
    """With row groups this small, rows lie on both sides of every border, and some fill none."""
    write_parts(tmp_path, clips=7)
    parquet, tfrecord = write(tmp_path, kept)
    want = wanted(kept)
    assert parquet.rows == tfrecord.rows == len(want)
    for got, values in zip(parquet_rows(tmp_path / "dataset" / parquet.path), want, strict=True):
        assert list(got) == list(values)
        for field in shard_fields(FIELDS):
            value = values[field.name]
            flat = value.reshape(-1).tolist() if field.kind == "codes" else value
            assert got[field.name] == flat, field.name
    for got, values in zip(tfrecord_rows(tmp_path / "dataset" / tfrecord.path), want, strict=True):
        assert set(got) == set(values)
        for field in shard_fields(FIELDS):
            value = values[field.name]
            encoded = {"codes": lambda v: v.tobytes(), "string": lambda v: v.encode()}
            assert got[field.name] == encoded.get(field.kind, lambda v: v)(value), field.name


def test_row_groups_have_one_size_whatever_the_parts_are(
    small_groups: None, tmp_path: Path
) -> None:
    write_parts(tmp_path, clips=7)
    parquet, _ = write(tmp_path, range(7))
    metadata = pq.ParquetFile(tmp_path / "dataset" / parquet.path).metadata
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert sizes == [4, 4, 4, 4, 4, 1]


def test_the_order_of_the_sources_changes_no_byte(tmp_path: Path) -> None:
    write_parts(tmp_path, clips=2)
    entries = [write(tmp_path, [0, 1], tracks) for tracks in itertools.permutations(TRACKS)]
    assert all(entry == entries[0] for entry in entries)


def test_an_entry_says_what_was_written(tmp_path: Path) -> None:
    write_parts(tmp_path, clips=1)
    for entry, name in zip(write(tmp_path, [0]), ("parquet", "tfrecord"), strict=True):
        data = (tmp_path / "dataset" / entry.path).read_bytes()
        assert (entry.split, entry.shard, entry.format) == ("test", 3, name)
        assert entry.path == f"shards/test-00003-of-00008-{entry.sha256[:12]}.{name}"
        assert entry.bytes == len(data)


def test_a_track_that_comes_twice_is_refused(tmp_path: Path) -> None:
    write_parts(tmp_path, clips=1)
    with pytest.raises(ValueError, match="twice in shard 3 of split test"):
        write(tmp_path, [0], [TRACKS[0], TRACKS[0]])


def test_a_part_that_fails_half_way_is_not_written(tmp_path: Path) -> None:
    def rows():
        yield part_row(row(TRACKS[0], 0))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        write_part(str(tmp_path / "c.parquet"), rows(), fields=FIELDS, facts=lambda: None)
    assert list(tmp_path.iterdir()) == []


def test_codes_of_another_shape_are_refused() -> None:
    wrong = row(TRACKS[0], 0)
    wrong["vocals_acoustic"] = wrong["vocals_acoustic"].T
    with pytest.raises(ValueError, match=r"vocals_acoustic must be \(20, 2\), found \(2, 20\)"):
        rows_to_table([part_row(wrong)], FIELDS)


def test_a_row_without_codes_keeps_the_codes_of_the_others_in_place() -> None:
    rows = [row(TRACKS[0], index) for index in range(3)]
    del rows[1]["vocals_semantic"]
    table: pa.Table = rows_to_table([part_row(values) for values in rows], FIELDS)
    want = [rows[0]["vocals_semantic"].tolist(), None, rows[2]["vocals_semantic"].tolist()]
    assert table["vocals_semantic"].to_pylist() == want
