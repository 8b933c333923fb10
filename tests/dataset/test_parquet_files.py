"""Files are read in place or by ranges, and never through a Python file."""

import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from singsong import storage
from singsong.dataset import parquet_files
from singsong.dataset.manifest import DatasetError
from singsong.dataset.parquet_files import open_parquet

ROWS, ROWS_PER_GROUP = 1000, 300
URL = "memory://ranges/table.parquet"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    random = np.random.default_rng(0)
    wide = pa.FixedSizeListArray.from_arrays(random.integers(0, 1 << 40, ROWS * 500), 500)
    names = [f"name {number % 7}" for number in range(ROWS)]
    return pa.table({"name": names, "wide": wide, "number": list(range(ROWS))})


@pytest.fixture(scope="module")
def path(table: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parquet") / "table.parquet"
    pq.write_table(table, path, row_group_size=ROWS_PER_GROUP, write_page_checksum=True)
    return path


class Requests:
    """Counts the bytes that are asked of the store."""

    def __init__(self) -> None:
        self.ranges: list[int] = []
        self.whole = 0


@pytest.fixture
def requests(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Requests]:
    fs = fsspec.filesystem("memory")
    fs.pipe("/ranges/table.parquet", path.read_bytes())
    seen = Requests()
    read_ranges, open_read = storage.read_ranges, storage.open_read

    def ranges(url: str, wanted: list[tuple[int, int]]) -> list[bytes]:
        seen.ranges += [end - start for start, end in wanted]
        return read_ranges(url, wanted)

    def whole(url: str):
        seen.whole += 1
        return open_read(url)

    monkeypatch.setattr(storage, "read_ranges", ranges)
    monkeypatch.setattr(storage, "open_read", whole)
    yield seen
    fs.rm("/ranges", recursive=True)


def test_a_local_file_is_read(path: Path, table: pa.Table) -> None:
    reader = open_parquet(str(path))
    assert reader.row_group_sizes == [300, 300, 300, 100]
    assert reader.read() == table
    assert reader.read(["number", "name"]) == table.select(["number", "name"])
    assert reader.row_group(3, ["name"]) == table.select(["name"]).slice(900)


def test_a_remote_file_is_read_by_ranges(path: Path, table: pa.Table, requests: Requests) -> None:
    size = path.stat().st_size
    assert size > 1 << 20
    reader = open_parquet(URL)
    assert requests.ranges == [64 << 10]
    assert reader.row_group(1, ["number"]) == table.select(["number"]).slice(300, 300)
    assert len(requests.ranges) == 2
    assert requests.ranges[1] < 10_000
    assert reader.read() == table
    assert requests.whole == 0
    assert sum(requests.ranges) < size + (80 << 10)


def test_a_footer_longer_than_the_first_guess(
    table: pa.Table, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_FOOTER_BYTES", 100)
    assert open_parquet(URL).read() == table
    assert requests.ranges[0] == 100


def test_a_small_remote_file_is_one_request(
    table: pa.Table, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "_SMALL_BYTES", 1 << 30)
    assert open_parquet(URL).read() == table
    assert (requests.whole, requests.ranges) == (1, [])


def test_pyarrow_never_gets_a_python_file(
    path: Path, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last reference to one, dropped by a thread of pyarrow at exit, aborts the process."""
    given = []

    def parquet_file(file: object, **rest: object) -> pq.ParquetFile:
        given.append(file)
        return original(file, **rest)

    original = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", parquet_file)
    for url in (str(path), URL):
        open_parquet(url).row_group(0, ["name"])
    assert [type(file) for file in given] == [pa.OSFile, pa.BufferReader]


def test_threads_share_a_reader(path: Path, table: pa.Table) -> None:
    reader, found = open_parquet(str(path)), {}

    def read(group: int) -> None:
        found[group] = reader.row_group(group, ["wide"])

    threads = [threading.Thread(target=read, args=(group,)) for group in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pa.concat_tables([found[group] for group in range(4)]) == table.select(["wide"])


def test_damage_and_missing_columns_are_named(path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DatasetError, match=f"{cut} is damaged"):
        open_parquet(str(cut))
    flipped = bytearray(path.read_bytes())
    flipped[pq.read_metadata(path).row_group(0).column(1).data_page_offset + 1000] ^= 1
    cut.write_bytes(flipped)
    with pytest.raises(DatasetError, match=f"{cut} is damaged"):
        open_parquet(str(cut)).row_group(0, ["wide"])
    with pytest.raises(DatasetError, match="has no column missing"):
        open_parquet(str(path)).read(["missing"])
    with pytest.raises(FileNotFoundError):
        open_parquet(str(tmp_path / "none.parquet"))


def test_an_object_shorter_than_expected(requests: Requests) -> None:
    size = storage.size_of(URL)
    with pytest.raises(OSError, match="shorter than expected"):
        storage.read_ranges(URL, [(size - 5, size + 5)])
    with pytest.raises(DatasetError, match=f"has {size} bytes, not {size + 1}"):
        parquet_files.fetch_whole(URL, size + 1)
