import errno
import io
import os
import shutil
from pathlib import Path

import fsspec
import pytest

from singsong import storage


def test_put_is_whole_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "a" / "b.bin")
    storage.put_bytes(url, b"first")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        storage.put_bytes(url, b"second")
    assert storage.read_bytes(url) == b"first"
    assert os.listdir(tmp_path / "a") == ["b.bin"]


def test_a_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    Path(path).write_bytes(b"x")
    url = storage.url_of(path)
    assert url.startswith("file:///")
    url.encode()
    assert storage.local_path(url) == path
    assert storage.read_bytes(url) == b"x"
    assert storage.sha256_of(url)[1] == 1


def test_names_with_percent_signs_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a%20b.wav"
    path.write_bytes(b"x")
    assert storage.read_bytes(storage.url_of(str(path))) == b"x"


def test_any_fsspec_url_works() -> None:
    storage.put_bytes("memory://bucket/folder/a.bin", b"hello")
    assert storage.read_bytes("memory://bucket/folder/a.bin") == b"hello"
    assert storage.exists("memory://bucket/folder/a.bin")
    assert storage.list_files("memory://bucket/folder") == ["a.bin"]
    with storage.local_copy("memory://bucket/folder/a.bin") as path:
        assert Path(path).read_bytes() == b"hello"
    assert not Path(path).exists()
    storage.remove("memory://bucket/folder/a.bin")
    assert not storage.exists("memory://bucket/folder/a.bin")
    storage.remove("memory://bucket/folder/a.bin")


def test_object_stores_see_no_rename(monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("memory")
    for name in ("mv", "move", "rename", "copy"):
        monkeypatch.setattr(type(fs), name, lambda *_: pytest.fail("renamed"), raising=False)
    storage.put_bytes("memory://bucket/b.bin", b"x")
    assert storage.read_bytes("memory://bucket/b.bin") == b"x"


def test_hashing_file_hashes_what_it_writes() -> None:
    import hashlib

    buffer = io.BytesIO()
    hashed = storage.HashingFile(buffer)
    hashed.write(b"abc")
    hashed.write(memoryview(b"def"))
    assert hashed.sha256 == hashlib.sha256(b"abcdef").hexdigest()
    assert (hashed.tell(), buffer.getvalue()) == (6, b"abcdef")


def test_a_missing_folder_lists_nothing(tmp_path: Path) -> None:
    assert storage.list_files(str(tmp_path / "none")) == []


def test_a_folder_of_a_store_is_copied(tmp_path: Path) -> None:
    with storage.local_folder(str(tmp_path)) as folder:
        assert folder == str(tmp_path)
    storage.put_bytes("memory://bucket/run/model/a", b"1")
    storage.put_bytes("memory://bucket/run/b", b"2")
    with storage.local_folder("memory://bucket/run") as folder:
        assert Path(folder, "model", "a").read_bytes() == b"1"
        assert Path(folder, "b").read_bytes() == b"2"
    assert not Path(folder).exists()
