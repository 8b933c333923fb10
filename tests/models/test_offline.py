"""Folders of fetched files: whole or not there, and true to their hashes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from singsong.models.offline import broken_files, write_folder
from singsong.models.weights import WeightsError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files in a cache."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "config.json").write_text("{}")
    (cache / "model.safetensors").write_bytes(bytes(range(256)))
    return sorted(cache.iterdir())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_holds_copies_and_their_sums(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "off" / "someone" / "model"
    write_folder(files, folder)
    assert names(folder) == ["SHA256SUMS", "config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == bytes(range(256))
    assert names(folder.parent) == ["model"]
    assert broken_files(folder) == []
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "config.json: OK\nmodel.safetensors: OK\n")


def test_a_change_is_named(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder(files, folder)
    (folder / "model.safetensors").write_bytes(bytes(256))
    (folder / "config.json").unlink()
    assert broken_files(folder) == [
        f"{folder}/config.json is missing",
        f"{folder}/model.safetensors is not the file that was fetched: its sha256 differs",
    ]
    (folder / "SHA256SUMS").write_text("0123  model.safetensors\n")
    with pytest.raises(WeightsError, match="has a line that is no sha256 and file name: '0123"):
        broken_files(folder)


def test_a_whole_folder_stays_and_a_damaged_or_older_one_is_replaced(
    files: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    write_folder(files, folder)
    before = folder.stat().st_ino
    write_folder(files, folder)
    assert folder.stat().st_ino == before
    (folder / "model.safetensors").write_bytes(bytes(256))
    write_folder(files, folder)
    assert broken_files(folder) == []
    files[1].write_bytes(b"a later version")
    write_folder(files, folder)
    assert (folder / "model.safetensors").read_bytes() == b"a later version"
    assert names(tmp_path) == ["cache", "model"]


def test_what_others_wrote_is_left_alone(files: list[Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("chapter 1")
    with pytest.raises(WeightsError, match="mine is there, and holds no SHA256SUMS"):
        write_folder(files, mine)
    with pytest.raises(WeightsError, match=r"config\.json is there, and holds no SHA256SUMS"):
        write_folder(files, files[0])
    assert names(mine) == ["thesis.tex"]
    assert broken_files(mine) == []


def test_a_full_disk_leaves_no_folder(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(files, tmp_path / "model")
    assert names(tmp_path) == ["cache"]
