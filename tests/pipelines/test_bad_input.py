"""Each bad input ends as a dead letter or a sentence; the good ones beside it are not lost."""

import dataclasses
import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import singsong.transforms.encode_tracks
from singsong import storage
from singsong.commands import cli
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import read_manifest
from tests.support import audio_files
from tests.support.fakes import RATE, tone, write_tones


def letters(dataset: Path) -> dict[str, dict]:
    manifest = read_manifest(str(dataset))
    rows = pq.read_table(dataset / manifest.table("dead_letters").path).to_pylist()
    return {os.path.basename(row["uri"]): row for row in rows}


def counts(dataset: Path) -> dict:
    return dataclasses.asdict(read_manifest(str(dataset)).counts)


def test_every_bad_file_is_a_dead_letter_with_its_reason(
    prepare, tmp_path: Path, dataset: Path
) -> None:
    music = tmp_path / "music"
    write_tones(music, tracks=3)
    audio = audio_files.music(2.0)
    audio_files.write_empty_file(music / "empty.wav")
    audio_files.write_text_named_mp3(music / "text.mp3")
    audio_files.write_truncated_flac(music / "cut.flac", audio)
    audio_files.write_zero_channel_wav(music / "channels0.wav")
    audio_files.write_wav_without_samples(music / "hollow.wav")
    os.symlink(music / "nowhere", music / "dangling.wav")
    os.mkfifo(music / "pipe.wav")
    assert prepare(music) == 3
    reasons = {name: row["reason"] for name, row in letters(dataset).items()}
    assert reasons == {
        "empty.wav": "empty",
        "text.mp3": "not_audio",
        "channels0.wav": reasons["channels0.wav"],
        "hollow.wav": "empty",
        "dangling.wav": "unreadable",
        "pipe.wav": "unreadable",
    }
    assert reasons["channels0.wav"] in ("not_audio", "corrupt")
    tracks = counts(dataset)["tracks"]
    assert tracks["encoded"] == 3 + 1  # what there is of cut.flac
    assert tracks["cut_short"] == 1
    rows = {Path(track.uri).name: track for track in open_dataset(str(dataset)).tracks}
    assert [name for name, track in rows.items() if track.cut_short] == ["cut.flac"]
    assert tracks["listed"] == 3 + 7 == 4 + sum(tracks["failed"].values())
    for row in letters(dataset).values():
        assert row["message"]
        assert "Traceback" not in row["message"]
    assert cli.main(["dataset", "verify", str(dataset)]) == 0
    assert cli.main(["dataset", "show", str(dataset)]) == 0


def test_odd_but_honest_files_are_encoded(prepare, tmp_path: Path, dataset: Path) -> None:
    music = tmp_path / "music"
    music.mkdir()
    audio_files.write_seventeen_channel_wav(music / "17.wav", 2.0)
    soundfile.write(music / "8k.wav", tone(2, hz=300, rate=8000), 8000)
    soundfile.write(music / "192k.wav", tone(2, hz=310, rate=192000), 192000)
    audio_files.write_wav_promising_4gib(music / "promise.wav", audio_files.music(3.0))
    name = os.fsdecode(os.fsencode(music) + b"/na\xefve \xff.wav")
    soundfile.write(tmp_path / "x.wav", tone(2, hz=320), RATE)
    shutil.move(tmp_path / "x.wav", name)
    assert prepare(music, flags=("--no-filter",)) == 0
    assert counts(dataset)["tracks"]["encoded"] == 5
    assert counts(dataset)["clips"]["kept"] == 2 * 4 + 3
    manifest = read_manifest(str(dataset))
    uris = pq.read_table(dataset / manifest.table("tracks").path)["uri"].to_pylist()
    assert any("%FF" in uri for uri in uris)


def test_short_and_silent_files_are_counted_not_lost(prepare, tmp_path, dataset) -> None:
    soundfile.write(tmp_path / "short.wav", tone(0.75, hz=300), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(2 * RATE), RATE)
    soundfile.write(tmp_path / "good.wav", tone(1, hz=300), RATE)
    assert prepare(*(tmp_path / f"{name}.wav" for name in ("short", "silent", "good"))) == 0
    counted = counts(dataset)
    assert counted["tracks"]["encoded"] == 3
    assert counted["clips"] == {"kept": 1, "dropped": {"instrumental_too_quiet": 2}, "failed": {}}
    assert counted["seconds"]["tails"] == 0.75


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "non_finite"), (-np.inf, "non_finite"), (1e9, "out_of_range")]
)
def test_a_bad_sample_costs_its_clip_and_no_other(prepare, tmp_path, dataset, value, reason):
    audio = np.stack([tone(4, hz=300)] * 2)
    audio_files.write_nan_wav(tmp_path / "a.wav", audio, at_sample=RATE * 3 // 2, value=value)
    assert prepare(tmp_path / "a.wav", flags=("--max-failure-rate", "0.25")) == 0
    assert counts(dataset)["clips"] == {"kept": 3, "dropped": {}, "failed": {reason: 1}}
    (letter,) = letters(dataset).values()
    assert (letter["clip_index"], letter["reason"]) == (1, reason)
    assert cli.main(["dataset", "verify", str(dataset)]) == 0


@pytest.mark.parametrize("make", ["missing", "no_files", "empty_glob"])
def test_inputs_that_name_nothing_are_one_sentence(prepare, tmp_path, capsys, dataset, make):
    (tmp_path / "folder").mkdir()
    name = {"missing": "nowhere", "no_files": "folder", "empty_glob": "*.wav"}[make]
    assert prepare(tmp_path / name) == 1
    assert name in capsys.readouterr().err
    assert not dataset.exists()


def test_covers_and_notes_are_listed_but_do_not_fail_the_job(prepare, tmp_path, dataset) -> None:
    write_tones(tmp_path / "music", tracks=1)
    audio_files.write_jpeg(tmp_path / "music" / "cover.jpg")
    assert prepare(tmp_path / "music") == 0
    assert counts(dataset)["tracks"]["failed"] == {"not_audio": 1}


def test_too_many_failures_are_an_exit_code(prepare, tmp_path, capsys) -> None:
    write_tones(tmp_path / "music", tracks=1)
    audio_files.write_empty_file(tmp_path / "music" / "empty.wav")
    assert prepare(tmp_path / "music") == 3
    assert "singsong retry" in capsys.readouterr().out
    assert prepare(tmp_path / "music", flags=("--max-failure-rate", "0.5")) == 0


def test_a_track_that_is_too_long_is_refused_by_name(prepare, tmp_path, dataset) -> None:
    write_tones(tmp_path / "music", tracks=2)
    soundfile.write(tmp_path / "music" / "long.flac", np.zeros(RATE * 40), RATE)
    flags = ("--max-track-hours", "0.01", "--max-failure-rate", "1")
    assert prepare(tmp_path / "music", flags=flags) == 0
    letter = letters(dataset)["long.flac"]
    assert letter["reason"] == "too_long"
    assert "--max-track-hours" in letter["message"]
    assert cli.main(["retry", str(dataset), "--mode", "in_memory"]) == 0
    assert counts(dataset)["tracks"]["failed"] == {}
    assert prepare(tmp_path / "music", flags=("--max-track-hours", "0")) == 1


def test_a_file_that_changes_while_the_job_runs_is_a_dead_letter(
    prepare, tmp_path, dataset, monkeypatch
) -> None:
    paths = write_tones(tmp_path / "music", tracks=2)
    check = singsong.transforms.encode_tracks.check_content

    def change_then_check(track, path: str) -> None:
        if path == str(paths[0]):
            soundfile.write(path, tone(1.5, hz=999), RATE)
        check(track, path)

    monkeypatch.setattr(singsong.transforms.encode_tracks, "check_content", change_then_check)
    assert prepare(tmp_path / "music", flags=("--max-failure-rate", "1")) == 0
    assert counts(dataset)["tracks"]["failed"] == {"content_changed": 1}


def test_retry_runs_only_what_failed(prepare, tmp_path, dataset, monkeypatch, capsys) -> None:
    paths = write_tones(tmp_path / "music", tracks=3)
    good = paths[0].read_bytes()
    paths[0].write_bytes(b"")
    nan = np.stack([tone(3, hz=500)] * 2)
    audio_files.write_nan_wav(tmp_path / "music" / "nan.wav", nan, at_sample=10)
    shutil.copyfile(paths[1], tmp_path / "music" / "twin.wav")
    assert prepare(tmp_path / "music", flags=("--max-failure-rate", "1")) == 0
    before = counts(dataset)
    assert before["tracks"]["failed"] == {"empty": 1}
    paths[0].write_bytes(good)
    paths[2].unlink()  # encoded before: its file is not looked at again
    encoded = []
    encode = singsong.transforms.encode_tracks.encode_track
    monkeypatch.setattr(
        singsong.transforms.encode_tracks,
        "encode_track",
        lambda track, **rest: (encoded.append(os.path.basename(track.uri)), encode(track, **rest))[
            1
        ],
    )
    assert cli.main(["retry", str(dataset), "--mode", "in_memory"]) == 0
    assert sorted(encoded) == ["nan.wav", "tone-000.wav"]
    after = counts(dataset)
    assert after["tracks"] == {
        "listed": 5,
        "encoded": 4,
        "cut_short": 0,
        "duplicate": 1,
        "failed": {},
    }
    assert after["clips"]["failed"] == {"non_finite": 1}
    assert cli.main(["dataset", "verify", str(dataset)]) == 0
    monkeypatch.undo()


def test_retry_keeps_what_still_fails(prepare, tmp_path, dataset) -> None:
    paths = write_tones(tmp_path / "music", tracks=2)
    paths[0].write_bytes(b"")
    assert prepare(tmp_path / "music", flags=("--max-failure-rate", "1")) == 0
    paths[0].unlink()
    assert cli.main(["retry", str(dataset), "--mode", "in_memory", "--max-failure-rate", "1"]) == 0
    assert counts(dataset)["tracks"]["failed"] == {"unreadable": 1}
    assert counts(dataset)["tracks"]["encoded"] == 1


def test_retry_without_failures_does_nothing(prepare, tmp_path, dataset, capsys) -> None:
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music") == 0
    assert cli.main(["retry", str(dataset)]) == 0
    assert "Nothing failed" in capsys.readouterr().out
    assert cli.main(["retry", str(tmp_path)]) == 1


@pytest.mark.parametrize("writes", [0, 1, 4, 6])
def test_a_full_disk_is_said_plainly_and_loses_nothing(
    prepare, tmp_path, dataset, monkeypatch, capsys, writes
) -> None:
    write_tones(tmp_path / "music", tracks=3)
    left = [writes]
    copy = shutil.copyfileobj

    def fill_up(source, target, *rest) -> None:
        if left[0] == 0:
            target.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        copy(source, target, *rest)

    monkeypatch.setattr(shutil, "copyfileobj", fill_up)
    assert prepare(tmp_path / "music") == 1
    assert "No space left on device" in capsys.readouterr().err
    files = [path for path in dataset.rglob("*") if path.is_file()] if dataset.exists() else []
    assert len(files) == writes
    assert not [path for path in files if path.name.startswith(storage.TEMPORARY_PREFIX)]
    assert not (dataset / "manifest.json").exists()
    monkeypatch.setattr(shutil, "copyfileobj", copy)
    assert prepare(tmp_path / "music") == 0
    assert cli.main(["dataset", "verify", str(dataset)]) == 0


def test_a_manifest_that_is_no_manifest_is_not_overwritten(prepare, tmp_path, dataset, capsys):
    dataset.mkdir()
    (dataset / "manifest.json").write_text("{}")
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music") == 1
    assert "not a dataset manifest" in capsys.readouterr().err
    assert (dataset / "manifest.json").read_text() == "{}"
