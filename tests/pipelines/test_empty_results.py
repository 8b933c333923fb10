"""A job that is left with no clip commits nothing, and one that lost many says so."""

import numpy as np
import pytest
import soundfile

import singsong.transforms.encode_tracks
from singsong.dataset.rejection import read_rejection
from tests.support import audio_files
from tests.support.fakes import RATE, FakeSeparator, fake_models, tone, write_tones


def test_a_separator_that_gives_no_numbers_costs_the_clip(
    prepare, tmp_path, dataset, monkeypatch
) -> None:
    models = fake_models()

    def half_wrong(mix: np.ndarray) -> np.ndarray:
        return np.where(np.arange(mix.shape[1]) == 5, np.nan, mix * 0.5).astype(np.float32)

    models.separator.separate_vocals = half_wrong
    monkeypatch.setattr(singsong.transforms.encode_tracks, "load_models", lambda recipe: models)
    write_tones(tmp_path / "music", tracks=1)
    assert prepare(tmp_path / "music") == 3
    rejection = read_rejection(str(dataset))
    assert rejection.counts.clips.failed == {"non_finite": 2}


def test_a_folder_without_audio_is_not_a_success(prepare, tmp_path, capsys, dataset) -> None:
    (tmp_path / "music").mkdir()
    audio_files.write_text_named_mp3(tmp_path / "music" / "notes.txt")
    assert prepare(tmp_path / "music") == 3
    printed = capsys.readouterr().out
    assert "Nothing was committed: no clip is left: no track could be encoded." in printed
    assert "not_audio: " in printed
    assert not (dataset / "manifest.json").exists()


@pytest.mark.parametrize("before", [False, True])
def test_a_separator_that_fails_on_each_clip_commits_nothing(
    prepare, tmp_path, dataset, monkeypatch, capsys, before
) -> None:
    write_tones(tmp_path / "music", tracks=2)
    if before:
        assert prepare(tmp_path / "music") == 0
    there = sorted(path.name for path in dataset.glob("*.json"))
    nan = lambda self, mix: np.full_like(mix, np.nan)  # noqa: E731
    monkeypatch.setattr(FakeSeparator, "separate_vocals", nan)
    monkeypatch.setattr(FakeSeparator, "weights_sha256", "of a broken separator")
    assert prepare(tmp_path / "music", flags=("--replace",)) == 3
    assert "Nothing was committed: no clip is left" in capsys.readouterr().out
    assert sorted(path.name for path in dataset.glob("*.json")) == [*there, "rejected.json"]


def test_songs_shorter_than_a_clip_commit_nothing(prepare, tmp_path, dataset, capsys) -> None:
    write_tones(tmp_path / "music", tracks=2, seconds=0.5)
    assert prepare(tmp_path / "music") == 3
    assert "every track is shorter than a clip" in capsys.readouterr().out
    assert not (dataset / "manifest.json").exists()


def test_a_filter_that_drops_all_commits_nothing(prepare, tmp_path, dataset, capsys) -> None:
    write_tones(tmp_path / "music", tracks=2)
    assert prepare(tmp_path / "music", flags=("--min-instrumental-db", "3")) == 3
    assert "the filter drops all" in capsys.readouterr().out
    assert prepare(tmp_path / "music") == 0
    assert not (dataset / "rejected.json").exists()


def test_too_many_failed_clips_are_an_exit_code(prepare, tmp_path, capsys) -> None:
    audio = tone(4, hz=300)
    audio[RATE // 2] = np.nan
    (tmp_path / "music").mkdir()
    soundfile.write(tmp_path / "music" / "a.wav", audio, RATE, subtype="FLOAT")
    assert prepare(tmp_path / "music") == 3
    assert "1 of 4 clips failed, more than --max-failure-rate 0.1" in capsys.readouterr().out
    assert prepare(tmp_path / "music", flags=("--max-failure-rate", "0.25")) == 0
