from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from singsong.commands.cli import COMMANDS
from singsong.storage import TEMPORARY_PREFIX
from singsong.synth.demo_songs import DemoSongsConfig
from singsong.synth.score import compose
from singsong.synth.song import MIX, STEMS, render_song

ONE_STEP = 1 / 32768


def run(folder: Path, *flags: str) -> int:
    command = COMMANDS["demo-songs"]
    return command.load().run(command.parse(["--output", str(folder), "--seconds", "2", *flags]))


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_index(folder: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((folder / "songs.json").read_text())
    return index


def test_writes_music_apart_from_stems_and_nothing_else(tmp_path: Path) -> None:
    assert run(tmp_path, "--songs", "2") == 0
    assert set(files_in(tmp_path)) == {
        "songs.json",
        *(f"mixes/song-000{song}.flac" for song in range(2)),
        *(f"stems/song-000{song}/{stem}.flac" for song in range(2) for stem in STEMS),
    }


def test_files_hold_the_song_and_the_stems_add_up(tmp_path: Path) -> None:
    run(tmp_path, "--songs", "1", "--seed", "5")
    spec = DemoSongsConfig(output=str(tmp_path), songs=1, seconds=2, seed=5).spec(0)
    rendered = render_song(spec)
    entry = read_index(tmp_path)["songs"][0]
    total = np.zeros((2, spec.samples))
    for name, path in {**entry["stems"], MIX: entry["mix"]}.items():
        audio, rate_hz = soundfile.read(tmp_path / path)
        assert rate_hz == entry["sample_rate_hz"] == 44100
        np.testing.assert_allclose(audio.T, rendered[name], atol=ONE_STEP)
        total += audio.T if name in STEMS else 0
    mix, _ = soundfile.read(tmp_path / entry["mix"])
    np.testing.assert_allclose(mix.T, total, atol=5 * ONE_STEP)


def test_index_tells_what_was_composed(tmp_path: Path) -> None:
    run(tmp_path, "--songs", "2", "--seed", "5")
    config = DemoSongsConfig(output=str(tmp_path), songs=2, seconds=2, seed=5)
    index = read_index(tmp_path)
    assert (index["seed"], index["seconds"], len(index["songs"])) == (5, 2, 2)
    for song, entry in enumerate(index["songs"]):
        spec = config.spec(song)
        score = compose(spec)
        assert entry["seed"] == spec.seed
        assert (entry["key"], entry["tempo_bpm"]) == (score.key.name, score.tempo_bpm)
        assert [chord["name"] for chord in entry["chords"]] == [c.name for c in score.chords]
        assert entry["chords"][0]["start_s"] == 0
        assert [note["midi"] for note in entry["melody"]] == [note.midi for note in score.melody]


def test_songs_take_given_tempi_in_turn(tmp_path: Path) -> None:
    assert run(tmp_path, "--songs", "3", "--tempo", "90", "--tempo", "150") == 0
    songs = read_index(tmp_path)["songs"]
    assert [song["tempo_bpm"] for song in songs] == [90, 150, 90]
    with pytest.raises(ValueError, match="tempo_bpm must be between"):
        run(tmp_path / "fast", "--songs", "1", "--tempo", "90", "--tempo", "400")


def test_same_seed_same_bytes_and_more_songs_keep_the_first(tmp_path: Path) -> None:
    run(tmp_path / "one", "--songs", "1")
    run(tmp_path / "two", "--songs", "2")
    run(tmp_path / "seed", "--songs", "1", "--seed", "1")
    one, two, seed = (files_in(tmp_path / name) for name in ("one", "two", "seed"))
    audio = {name for name in one if name != "songs.json"}
    assert all(one[name] == two[name] for name in audio)
    assert one["mixes/song-0000.flac"] != two["mixes/song-0001.flac"]
    assert one["mixes/song-0000.flac"] != seed["mixes/song-0000.flac"]
    run(tmp_path / "one", "--songs", "2")
    assert files_in(tmp_path / "one") == two


def test_an_interrupted_run_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path, "--songs", "1")
    assert files_in(tmp_path) == {}


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    half_written = tmp_path / f"mixes/{TEMPORARY_PREFIX}0123"
    half_written.parent.mkdir()
    half_written.write_bytes(b"fLaC")
    run(tmp_path, "--songs", "1")
    assert not half_written.exists()


def test_music_of_another_run_is_never_left_among_ours(tmp_path: Path) -> None:
    run(tmp_path, "--songs", "2")
    before = files_in(tmp_path)
    with pytest.raises(ValueError, match=r"found mixes/song-0001\.flac"):
        run(tmp_path, "--songs", "1")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--songs", "0"], "songs must be at least 1"),
        (["--seconds", "0"], "seconds must be between"),
        (["--output", ""], "output must name a folder"),
    ],
)
def test_wrong_settings(tmp_path: Path, flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, *flags)
    assert files_in(tmp_path) == {}


def test_flags_are_never_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run(tmp_path, "--song", "3")
    assert exit_info.value.code == 2
    assert "unrecognized arguments: --song" in capsys.readouterr().err
