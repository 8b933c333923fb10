"""What becomes of the tracks that the output already has."""

import shutil
from pathlib import Path

import pytest
import soundfile

import singsong.transforms.encode_tracks
from singsong.commands import cli
from singsong.dataset.handle import open_dataset
from tests.support.fakes import write_tones


def uris(dataset: Path) -> list[str]:
    tracks = open_dataset(str(dataset)).tracks
    return sorted(Path(track.uri).name for track in tracks if track.kept_clips)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    write_tones(tmp_path / "music", tracks=3)
    return tmp_path / "music"


def new_song(folder: Path) -> Path:
    """Writes one more song, of another length and so of other content."""
    (path,) = write_tones(folder.parent / "made", tracks=1, seconds=4.3)
    folder.mkdir(exist_ok=True)
    return path.rename(folder / "new.wav")


def test_a_run_that_would_drop_tracks_is_refused_before_anything_is_done(
    prepare, music: Path, tmp_path: Path, dataset: Path, capsys, monkeypatch
) -> None:
    assert prepare(music) == 0
    before = (dataset / "manifest.json").read_bytes()
    monkeypatch.setattr(singsong.models.bundle, "load_models", None)
    assert prepare(new_song(tmp_path / "songs")) == 1
    error = capsys.readouterr().err
    assert "has tracks that are not among the inputs (3, such as" in error
    assert "--add" in error
    assert "--replace" in error
    assert (dataset / "manifest.json").read_bytes() == before


def test_add_keeps_the_tracks_that_are_there(
    prepare, music: Path, tmp_path: Path, dataset: Path
) -> None:
    assert prepare(music) == 0
    before = uris(dataset)
    assert prepare(new_song(tmp_path / "songs"), flags=("--add",)) == 0
    assert uris(dataset) == sorted([*before, "new.wav"])
    assert cli.main(["dataset", "verify", str(dataset)]) == 0
    together = tmp_path / "together"
    assert prepare(music, tmp_path / "songs", output=together) == 0
    digests = {open_dataset(str(one)).manifest.dataset_digest for one in (dataset, together)}
    assert len(digests) == 1


def test_replace_makes_a_version_without_them(
    prepare, music: Path, tmp_path: Path, dataset: Path
) -> None:
    assert prepare(music) == 0
    first = open_dataset(str(dataset)).manifest.dataset_digest
    assert prepare(new_song(tmp_path / "songs"), flags=("--replace",)) == 0
    assert uris(dataset) == ["new.wav"]
    assert len(open_dataset(str(dataset), first[:12]).tracks) == 3


def test_a_library_that_grew_needs_no_flag(prepare, music: Path, dataset: Path) -> None:
    assert prepare(music) == 0
    new_song(music)
    assert prepare(music) == 0
    assert len(uris(dataset)) == 4


def test_a_track_that_cannot_be_read_any_more_is_not_dropped(
    prepare, music: Path, dataset: Path, capsys
) -> None:
    """By name it is there; only the commit finds that its content is not."""
    assert prepare(music) == 0
    before = (dataset / "manifest.json").read_bytes()
    lost = sorted(music.iterdir())[0]
    lost.write_bytes(b"")
    assert prepare(music) == 1
    printed = capsys.readouterr().out
    assert "has tracks that are not among the inputs (1, such as" in printed
    assert "empty: " in printed
    assert (dataset / "manifest.json").read_bytes() == before
    kept = uris(dataset)
    assert prepare(music, flags=("--add", "--max-failure-rate", "1")) == 0
    assert uris(dataset) == kept
    assert prepare(music, flags=("--replace", "--max-failure-rate", "1")) == 0
    assert uris(dataset) == [name for name in kept if name != lost.name]


def test_one_of_two_copies_may_go(prepare, music: Path, dataset: Path) -> None:
    first = sorted(music.iterdir())[0]
    shutil.copyfile(first, music / "twin.wav")
    assert prepare(music) == 0
    digest = open_dataset(str(dataset)).manifest.dataset_digest
    first.unlink()
    assert prepare(music) == 0
    assert open_dataset(str(dataset)).manifest.dataset_digest == digest


def test_a_moved_library_is_the_same(prepare, music: Path, tmp_path: Path, dataset: Path) -> None:
    assert prepare(music) == 0
    digest = open_dataset(str(dataset)).manifest.dataset_digest
    music.rename(tmp_path / "moved")
    assert prepare(tmp_path / "moved", flags=("--replace",)) == 0
    assert open_dataset(str(dataset)).manifest.dataset_digest == digest


def test_parts_of_other_code_are_not_added_to(
    prepare, music: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    assert prepare(music) == 0
    monkeypatch.setitem(singsong.transforms.encode_tracks.ARITHMETIC, "noise", 99)
    assert prepare(music) == 1
    assert "encoded differently" in capsys.readouterr().err
    assert prepare(music, flags=("--replace",)) == 0
    parts = list((tmp_path / "dataset" / "parts").rglob("*.parquet"))
    assert len(parts) == 6


def test_retry_keeps_what_is_known_of_a_file_that_fails_again(
    prepare, music: Path, dataset: Path, capfd
) -> None:
    (music / "bad.wav").write_bytes(b"RIFF")
    broken = sorted(music.iterdir())[1]
    audio, rate = soundfile.read(broken)
    audio[5] = float("nan")
    soundfile.write(broken, audio, rate, subtype="FLOAT")
    assert prepare(music, flags=("--max-failure-rate", "1")) == 0
    before = uris(dataset)
    broken.unlink()
    capfd.readouterr()
    assert cli.main(["retry", str(dataset), "--mode", "in_memory", "--max-failure-rate", "1"]) == 0
    assert uris(dataset) == before
    printed = capfd.readouterr().err
    assert f"{broken.name}: the file cannot be read" in printed
    assert "the dataset keeps what it has of this file" in printed
    assert cli.main(["dataset", "verify", str(dataset)]) == 0
