"""`singsong accompany`, of one file and of many."""

import hashlib
import json
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import soundfile

from singsong.commands import cli
from singsong.generation.sampling_config import Sampling
from singsong.generation.vocals_file import read_vocals
from singsong.pipelines.accompany import config_from
from singsong.schemas.elements import Track
from singsong.transforms.accompany_config import AccompanyConfig
from singsong.transforms.accompany_tracks import AccompanySink, AccompanyTracks, sound_name
from singsong.transforms.accompany_vocals import accompany_vocals, load_accompanist
from singsong.transforms.progress import STOP_NAME
from tests.support.accompanying import save_accompaniment


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_accompaniment(tmp_path_factory.mktemp("model"))


def write_vocals(path: Path, *, seconds: float = 1.3, rate_hz: int = 48000, hz: int = 220) -> Path:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    voice = 0.2 * np.sin(2 * np.pi * hz * time)
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, np.stack([voice, 0.5 * voice], axis=1), rate_hz, subtype="PCM_24")
    return path


def accompany(*arguments: object) -> int:
    return cli.main(["accompany", *map(str, arguments)])


def test_the_vocals_stay_as_they_are(tmp_path: Path, checkpoint: str) -> None:
    vocals = write_vocals(tmp_path / "vocals.wav")
    flags = ("--checkpoint", checkpoint, "--seed", 5)
    assert accompany(vocals, *flags, "--output", tmp_path / "mix.wav") == 0
    assert accompany(vocals, *flags, "--stem", "--output", tmp_path / "stem.flac") == 0
    sung, _ = soundfile.read(vocals, dtype="float32")
    mix, rate_hz = soundfile.read(tmp_path / "mix.wav", dtype="float32")
    stem, _ = soundfile.read(tmp_path / "stem.flac", dtype="float32")
    assert (rate_hz, mix.shape, stem.shape) == (48000, sung.shape, sung.shape[:1])
    assert np.abs(stem).max() > 0
    np.testing.assert_allclose(mix - sung, np.stack([stem, stem], axis=1), atol=1e-6)


def flags_of(*arguments: str) -> AccompanyConfig:
    flags = ["a.wav", "--checkpoint", "run", "--output", "mix.wav", *arguments]
    return config_from(cli.COMMANDS["accompany"].parse(flags)).accompany


def test_flags_say_how_codes_are_drawn() -> None:
    assert flags_of().seeds == (0,)
    assert flags_of("--seed", "0").seeds == (0,)
    config = flags_of(
        "--seed", "3", "--seed", "0", "--temperature", "0.5", "--fine-temperature", "0"
    )
    assert config.seeds == (3, 0)
    assert (config.sampling.temperature, config.sampling.fine_temperature) == (0.5, 0.0)


def test_a_file_is_accompanied_as_it_was_configured(tmp_path: Path, checkpoint: str) -> None:
    """The mix is the vocals, untouched, and what the models make of the mean of their channels."""
    path = write_vocals(tmp_path / "vocals.wav", rate_hz=44100)
    vocals, rate_hz = soundfile.read(path, dtype="float32")
    config = AccompanyConfig(
        checkpoint=checkpoint, seeds=(5, 0), sampling=Sampling(temperature=0.3)
    )
    accompanist = load_accompanist(config)
    read, found_hz = read_vocals(str(path), suffix=".wav", stem=False)
    assert found_hz == rate_hz
    found = accompany_vocals(read, sample_rate_hz=rate_hz, config=config, accompanist=accompanist)
    expected = accompanist.accompany(
        vocals.mean(axis=1, dtype=np.float32),
        sample_rate_hz=rate_hz,
        seeds=[5, 0],
        sampling=Sampling(temperature=0.3),
    )
    for (seed, mix), wanted, instrumental in zip(found, (5, 0), expected, strict=True):
        assert seed == wanted
        np.testing.assert_allclose(mix, vocals.T + instrumental, rtol=0, atol=1e-6)
    assert not np.array_equal(*expected)


def test_each_seed_has_a_file(
    tmp_path: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    vocals = write_vocals(tmp_path / "vocals.wav", rate_hz=44100)
    flags = ("--checkpoint", checkpoint, "--seed", 0, "--seed", 1)
    assert accompany(vocals, *flags, "--output", tmp_path / "mix.mp3") == 0
    first, second = (soundfile.read(tmp_path / f"mix-seed{seed}.mp3")[0] for seed in (0, 1))
    assert first.shape == second.shape
    assert not np.array_equal(first, second)
    assert "mix-seed1.mp3 (1.3 s" in capsys.readouterr().out


def test_many_files_are_accounted_for_and_not_made_again(
    tmp_path: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    takes, output = tmp_path / "takes", tmp_path / "out"
    write_vocals(takes / "one.wav")
    write_vocals(takes / "two.wav", hz=330)
    write_vocals(takes / "again.wav", hz=330)
    (takes / "notes.txt").write_text("not audio")
    (takes / "empty.wav").touch()
    flags = (takes, "--checkpoint", checkpoint, "--output", output, "--format", "flac")
    mode = ("--mode", "in_memory")
    assert accompany(*flags, *mode) == 3
    report = json.loads((output / "accompaniments.json").read_text())
    made = {
        sound["path"]: (output / sound["path"]).stat().st_mtime_ns for sound in report["sounds"]
    }
    assert len(made) == 2
    assert sorted(path.name for path in output.iterdir()) == sorted([*made, "accompaniments.json"])
    assert [Path(other["uri"]).name for other in report["duplicates"]] == ["two.wav"]
    reasons = {Path(letter["uri"]).name: letter["reason"] for letter in report["dead_letters"]}
    assert reasons == {"empty.wav": "empty", "notes.txt": "not_audio"}
    assert "1 files failed" in capsys.readouterr().out

    (takes / "empty.wav").unlink()
    assert accompany(*flags, *mode) == 0
    assert {path: (output / path).stat().st_mtime_ns for path in made} == made
    assert accompany(*flags, *mode, "--temperature", "0.5") == 0
    assert len(list(output.glob("*.flac"))) == 4


def test_what_a_format_cannot_hold_is_told_before_anything_is_drawn(
    tmp_path: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    takes, output = tmp_path / "takes", tmp_path / "out"
    write_vocals(takes / "one.wav")
    fast = write_vocals(takes / "fast.wav", rate_hz=96000)
    flags = ("--checkpoint", checkpoint, "--output", output, "--format", "mp3")
    assert accompany(takes, *flags, "--mode", "in_memory") == 3
    report = json.loads((output / "accompaniments.json").read_text())
    assert [Path(sound["uri"]).name for sound in report["sounds"]] == ["one.wav"]
    assert [letter["reason"] for letter in report["dead_letters"]] == ["unwritable"]
    capsys.readouterr()
    empty = ("--checkpoint", tmp_path, "--output", tmp_path / "mix.mp3")  # cannot be loaded
    assert accompany(fast, *empty) == 1
    assert "fast.wav: an mp3 holds one or two channels at " in capsys.readouterr().err


def test_asked_to_stop_it_stops_within_a_file(tmp_path: Path, checkpoint: str) -> None:
    vocals = write_vocals(tmp_path / "takes" / "one.wav")
    (tmp_path / STOP_NAME).touch()
    content = vocals.read_bytes()
    track = Track(
        track_id=hashlib.sha256(content).hexdigest(), uri=str(vocals), size_bytes=len(content)
    )
    config = AccompanyConfig(checkpoint=checkpoint, progress=str(tmp_path))
    sink = AccompanySink(output=str(tmp_path / "out"), suffix=".wav", digest="d")
    with (
        pytest.raises(Exception, match="the job is to stop"),
        beam.Pipeline() as pipeline,
    ):
        pipeline | beam.Create([track]) | AccompanyTracks(config, sink)
    assert not list((tmp_path / "out").rglob("*.*"))


def test_a_sound_has_a_name_that_a_disk_takes() -> None:
    name = "\u00e9" * 125 + ".wav"
    assert len(name.encode()) == 254
    for suffix in (".wav", ".flac"):
        track = Track(track_id="ab12", uri=f"/takes/{name}", size_bytes=1)
        found = sound_name(track, digest="cd34", seed=2**31, suffix=suffix)
        assert len(found.encode()) < 200
        assert found.startswith("\u00e9" * 80 + "-")
        assert found.endswith(suffix)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("a.wav", "b.wav", "--output", "mix.wav"), "for one file of vocals, found 2"),
        (("nothing.wav", "--output", "mix.wav"), "nothing.wav"),
        (("nothing.wav", "--output", "folder"), "names no file"),
        (("a.wav", "--output", "mix.wav", "--temperature", "-1"), "must not be negative"),
        (("a.wav", "--output", "mix.wav", "--seed", "1", "--seed", "1"), "seeds must be different"),
        (("a.wav", "--output", "./a.wav"), "lies in the input a.wav"),
        (("takes", "--output", "takes/mixes"), "lies in the input takes"),
        (("a.wav", "--output", "mix.ogg"), "must end in one of .wav, .flac, .mp3"),
        (("a.wav", "--output", "mix.wav", "--format", "mp3"), "mix.wav is not the mp3 file"),
        (("a.wav", "--output", "mix.wav", "--explain"), "are for a folder as the output"),
        (("a.wav", "--output", "mix.wav", "--workers", "2"), "are for a folder as the output"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    tmp_path: Path,
    checkpoint: str,
    arguments: tuple[str, ...],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert accompany(*arguments, "--checkpoint", checkpoint) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_what_is_no_audio_is_told_in_a_sentence(
    tmp_path: Path, checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "vocals.wav").write_text("not audio")
    flags = ("--checkpoint", checkpoint, "--output", tmp_path / "mix.wav")
    assert accompany(tmp_path / "vocals.wav", *flags) == 1
    assert "vocals.wav: " in capsys.readouterr().err
    assert not (tmp_path / "mix.wav").exists()
