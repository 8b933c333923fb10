"""Objects of `gs://` and `s3://` against emulators on localhost."""

import asyncio
import gc
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.registry import _registry

from benchmarks.support.faulty_proxy import RESET, Request, each_first, each_nth
from benchmarks.support.object_stores import Store
from singsong import storage
from singsong.storage.errors import (
    StoreDeniedError,
    StoreMissingError,
    StoreUnavailableError,
    bucket_of,
)

NAMES = [
    "a.wav",
    "two words.wav",
    "Käse – 夜に駆ける.wav",
    "take#2.wav",
    "take#2",
    "what?.wav",
    "x?versionId.wav",
    "100%.wav",
    "a%20b.wav",
    "[live] *.wav",
    "a::b.wav",
    "a+b&c=d.wav",
    "quote'\".wav",
]
MANY_BYTES = bytes(range(256)) * (9 << 12)  # 9 MiB: more than one block


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the client libraries try again at once."""
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _s, *a: sleep(0, *a))


class BrokenFile(io.BytesIO):
    """Fails when half of it was read, as a full or failing disk does."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() + (size or 0) > len(self.getvalue()) // 2:
            raise OSError("the disk failed")
        return super().read(size)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, len(MANY_BYTES)])
def test_what_is_put_is_read(folder: str, size: int, store: Store) -> None:
    url = f"{folder}/a.bin"
    assert not storage.exists(url)
    storage.put_bytes(url, MANY_BYTES[:size])
    assert storage.exists(url)
    assert storage.read_bytes(url) == MANY_BYTES[:size]
    assert storage.sha256_of(url)[1] == size
    with storage.local_copy(url) as path:
        assert Path(path).read_bytes() == MANY_BYTES[:size]
    storage.put_bytes(url, b"other")
    assert storage.read_bytes(url) == b"other"
    assert storage.list_files(folder) == ["a.bin"]
    storage.remove(url)
    storage.remove(url)
    assert not storage.exists(url)
    assert storage.list_files(folder) == []
    assert not [request for request in store.proxy.requests if request.is_copy]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_a_name(folder: str, name: str) -> None:
    url = f"{folder}/sub folder/{name}"
    storage.put_bytes(url, b"x")
    assert storage.exists(url)
    assert storage.read_bytes(url) == b"x"
    assert storage.find_objects(url) == [(url, 1)]
    assert storage.find_objects(folder) == [(url, 1)]
    assert storage.list_files(folder) == [f"sub folder/{name}"]
    storage.remove(url)
    assert not storage.exists(url)


def test_a_folder_stands_for_what_is_below_it_alone(folder: str) -> None:
    for name in ("music/a.wav", "music/deep/b.wav", "music2/c.wav", "music.wav"):
        storage.put_bytes(f"{folder}/{name}", b"x")
    inside = [f"{folder}/music/a.wav", f"{folder}/music/deep/b.wav"]
    for name in ("music", "music/"):
        assert sorted(url for url, _ in storage.find_objects(f"{folder}/{name}")) == inside
    assert storage.find_objects(f"{folder}/musi") == []
    globbed = {url for url, _ in storage.find_objects(f"{folder}/music*")}
    assert globbed == {*inside, f"{folder}/music2/c.wav", f"{folder}/music.wav"}


def test_the_empty_objects_that_consoles_make_for_folders_are_none(folder: str) -> None:
    put_marker(f"{folder}/music/")
    assert storage.list_files(folder) == []
    assert storage.find_objects(f"{folder}/music") == []
    storage.put_bytes(f"{folder}/music/a.wav", b"x")
    put_marker(f"{folder}/music/deep/")
    assert storage.list_files(folder) == ["music/a.wav"]
    assert storage.find_objects(f"{folder}/music/") == [(f"{folder}/music/a.wav", 1)]


def put_marker(url: str) -> None:
    """Makes an object whose name ends in a slash."""
    fs, _ = storage.filesystem(url)
    fs.pipe_file(url.partition("://")[2], b"")


def test_what_another_process_writes_shows_at_once(folder: str, store: Store) -> None:
    assert storage.list_files(folder) == []
    assert not storage.exists(f"{folder}/a/b.bin")
    code = f"from singsong import storage; storage.put_bytes({folder + '/a/b.bin'!r}, b'x')"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **store.environment}, check=True
    )
    assert storage.exists(f"{folder}/a/b.bin")
    assert storage.list_files(folder) == ["a/b.bin"]


@pytest.mark.parametrize("size", [1000, 20 << 20])
def test_an_upload_that_breaks_off_makes_no_object(folder: str, size: int, impatient: None) -> None:
    url = f"{folder}/a.bin"
    with pytest.raises(OSError, match="the disk failed"):
        storage.put_file(url, BrokenFile(bytes(size)))
    gc.collect()
    assert not storage.exists(url)
    storage.put_bytes(url, b"first")
    with pytest.raises(OSError, match="the disk failed"):
        storage.put_file(url, BrokenFile(bytes(size)))
    gc.collect()
    assert storage.read_bytes(url) == b"first"


@pytest.mark.parametrize("fault", [503, 429, RESET])
def test_a_fault_that_passes_is_not_seen(
    folder: str, store: Store, fault: int, impatient: None
) -> None:
    large = len(MANY_BYTES)
    sizes = {"a": 1000, "b": large, "c": large, "d": large, "e": 1000}
    store.proxy.fault = each_nth(5, fault, when=store.is_upload)
    for name, size in sizes.items():
        storage.put_bytes(f"{folder}/{name}", MANY_BYTES[:size])
    assert len(store.proxy.faults) >= 2
    store.proxy.reset()
    store.proxy.fault = each_first(fault)
    assert storage.list_files(folder) == list(sizes)
    for name, size in sizes.items():
        assert storage.exists(f"{folder}/{name}")
        assert storage.read_bytes(f"{folder}/{name}") == MANY_BYTES[:size]
    storage.remove(f"{folder}/a")
    assert storage.list_files(folder) == ["b", "c", "d", "e"]
    hit = {request.path for request, _ in store.proxy.faults if store.is_media(request)}
    assert len(hit) == len(sizes)


def test_a_fault_that_stays_is_told_and_leaves_no_object(
    folder: str, store: Store, impatient: None
) -> None:
    url = f"{folder}/a.bin"
    for size in (1000, len(MANY_BYTES)):
        store.proxy.fault = lambda request: 503 if store.is_upload(request) else None
        with pytest.raises(StoreUnavailableError, match=f"{url} could not be written: {store.url}"):
            storage.put_bytes(url, MANY_BYTES[:size])
        store.proxy.reset()
        assert not storage.exists(url)
    storage.put_bytes(url, b"x")
    store.proxy.fault = lambda request: 503
    with pytest.raises(StoreUnavailableError, match="could not be read"):
        storage.read_bytes(url)
    with pytest.raises(StoreUnavailableError, match="could not be read"):
        storage.exists(url)
    with pytest.raises(StoreUnavailableError, match="could not be listed"):
        storage.list_files(folder)


def permission(store: Store, gs: str, s3: str) -> str:
    return f"lack {gs if store.url.startswith('gs') else s3} on {store.url}"


def test_what_is_forbidden_is_told_with_the_permission_it_needs(
    folder: str, store: Store, impatient: None
) -> None:
    url = f"{folder}/a.bin"
    storage.put_bytes(url, b"x")
    store.proxy.fault = lambda request: 403
    with pytest.raises(StoreDeniedError) as told:
        storage.read_bytes(url)
    assert permission(store, "storage.objects.get", "s3:GetObject") in str(told.value)
    with pytest.raises(StoreDeniedError) as told:
        storage.put_bytes(url, b"y")
    assert permission(store, "storage.objects.create", "s3:PutObject")[:24] in str(told.value)
    with pytest.raises(StoreDeniedError) as told:
        storage.list_files(folder)
    assert permission(store, "storage.objects.list", "s3:ListBucket") in str(told.value)
    with pytest.raises(StoreDeniedError) as told:
        storage.remove(url)
    assert permission(store, "storage.objects.delete", "s3:DeleteObject") in str(told.value)
    store.proxy.reset()
    assert storage.read_bytes(url) == b"x"


def test_a_bucket_that_is_not_there_is_told(store: Store) -> None:
    bucket = f"{store.url}-not-there"
    with pytest.raises(StoreMissingError, match=f"^the bucket {bucket} does not exist$"):
        storage.put_bytes(f"{bucket}/a.bin", b"x")
    with pytest.raises(StoreMissingError, match=f"^the bucket {bucket} does not exist$"):
        storage.find_objects(f"{bucket}/music")
    with pytest.raises(StoreMissingError, match=f"^the bucket {bucket} does not exist$"):
        storage.check_place(f"{bucket}/dataset")
    with pytest.raises(StoreMissingError, match=f"{bucket}/a.bin does not exist"):
        storage.read_bytes(f"{bucket}/a.bin")
    storage.check_place(f"{store.url}/dataset")


STREAM = """
import resource, sys, tempfile
from singsong import storage

url = sys.argv[1]

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

storage.put_bytes(url, bytes(20 << 20))
storage.sha256_of(url)
before = peak_mb()
with tempfile.TemporaryFile() as file:
    file.truncate(100 << 20)
    storage.put_file(url, file)
assert storage.sha256_of(url)[1] == 100 << 20
with storage.local_copy(url):
    pass
print(peak_mb() - before)
"""


def test_large_objects_stream(folder: str, store: Store) -> None:
    """100 MB may not take more memory than 20 MB, but for what an allocator holds back."""
    environment = {**os.environ, **store.environment}
    command = [sys.executable, "-c", STREAM, f"{folder}/large.bin"]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert printed.returncode == 0, printed.stderr
    assert float(printed.stdout) < 40
    storage.remove(f"{folder}/large.bin")


def test_a_bucket_is_named() -> None:
    assert bucket_of("s3://music") == "s3://music"


@pytest.fixture
def no_s3fs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)


def test_without_s3fs_the_extra_is_named(no_s3fs: None) -> None:
    with pytest.raises(ValueError, match=r"pip install 'singsong\[s3\]'"):
        storage.exists("s3://music/a.wav")
    with pytest.raises(ValueError, match="Protocol not known: nowhere"):
        storage.exists("nowhere://music/a.wav")


def test_fault_is_hit_each_nth_time() -> None:
    fault = each_nth(2, 503, when=lambda request: request.method == "GET")
    asked = [Request(method, "/") for method in ("GET", "PUT", "GET", "GET", "GET")]
    assert [fault(request) for request in asked] == [None, None, 503, None, 503]


def test_fault_is_hit_at_first_whatever_comes_between() -> None:
    fault = each_first(503)
    asked = [Request("GET", path) for path in ("/a", "/b", "/a", "/b", "/a")]
    assert [fault(request) for request in asked] == [503, 503, None, None, 503]
