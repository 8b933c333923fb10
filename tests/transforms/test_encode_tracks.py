"""When a track is encoded, and what becomes of one that cannot be."""

import dataclasses
import hashlib
import os
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import singsong.transforms.encode_tracks
from singsong.dataset.part_files import open_part
from singsong.models.bundle import Models
from singsong.schemas.elements import DeadLetter, PartRef, Track
from singsong.schemas.recipe import EncodeRecipe, ModelSpec
from singsong.schemas.separation import NO_SEPARATION_LIMITS
from singsong.transforms.encode_tracks import EncodeConfig, WeightsMismatchError, _EncodeStep
from singsong.transforms.per_track import _ForEachTrack
from tests.support.fakes import RATE, FakeCodec, fake_models, tone

FAKE = ModelSpec(name="fake")
RECIPE = EncodeRecipe(
    clip_seconds=0.5,
    separator=FAKE,
    acoustic=FAKE,
    semantic=FAKE,
    separation=NO_SEPARATION_LIMITS,
)


def write_track(path: Path, audio: np.ndarray) -> Track:
    soundfile.write(path, audio, RATE, subtype="FLOAT")
    data = path.read_bytes()
    track_id = hashlib.sha256(data).hexdigest()
    return Track(track_id=track_id, uri=path.as_uri(), size_bytes=len(data))


def config(folder: Path, **changes: object) -> EncodeConfig:
    weights = tuple(fake_models().weights.items())
    return EncodeConfig(recipe=RECIPE, weights=weights, parts=str(folder), **changes)  # type: ignore[arg-type]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> Models:
    made = fake_models()
    monkeypatch.setattr(singsong.transforms.encode_tracks, "load_models", lambda recipe: made)
    return made


def process(track: Track, config: EncodeConfig) -> list:
    step = _ForEachTrack(_EncodeStep(config=config))
    step.setup()
    return list(step.process(track))


def test_a_part_holds_every_clip_and_the_facts(models: Models, tmp_path: Path) -> None:
    audio = tone(1.75, hz=300)
    audio[RATE // 2 + 9] = np.nan
    track = write_track(tmp_path / "a.wav", audio)
    (part,) = process(track, config(tmp_path / "parts"))
    assert isinstance(part, PartRef)
    assert part.track == track
    assert part.path.startswith(f"{track.track_id[:2]}/{track.track_id}-")
    file = tmp_path / "parts" / part.path
    rows = pq.ParquetFile(file).read().to_pylist()
    assert [row["status"] for row in rows] == ["encoded", "failed", "encoded"]
    assert [row["clip_id"] for row in rows] == [f"{track.track_id[:32]}-{n:06d}" for n in range(3)]
    assert rows[1]["reason"] == "non_finite"
    assert "NaN" in rows[1]["message"]
    with open_part(str(file)) as opened:
        facts = opened.facts
    assert facts.track_id == track.track_id
    assert (facts.seconds, facts.tail_seconds) == (1.75, 0.25)


def test_the_name_of_a_part_follows_recipe_and_weights(models: Models, tmp_path: Path) -> None:
    recipes = [RECIPE, dataclasses.replace(RECIPE, noise_seed=1)]
    weights = [tuple(models.weights.items()), (("separator", "other"),)]
    names = {
        dataclasses.replace(config(tmp_path), recipe=recipe, weights=one).encode_digest
        for recipe in recipes
        for one in weights
    }
    assert len(names) == 4


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("redo", [False, True])
def test_a_part_that_exists_is_made_again_only_for_its_failed_clips(
    models: Models, tmp_path: Path, redo: bool, broken: bool
) -> None:
    audio = tone(1, hz=300)
    if broken:
        audio[7] = np.inf
    track = write_track(tmp_path / "a.wav", audio)
    job = config(tmp_path / "parts", redo_failed_clips=redo)
    (first,) = process(track, job)
    calls = models.separator.calls  # type: ignore[union-attr]
    assert process(track, job) == [first]
    assert (models.separator.calls > calls) == (redo and broken)  # type: ignore[union-attr]


def test_a_part_of_another_recipe_is_not_taken_for_this_one(models: Models, tmp_path: Path) -> None:
    track = write_track(tmp_path / "a.wav", tone(1, hz=300))
    job = config(tmp_path / "parts")
    process(track, job)
    other = dataclasses.replace(job, recipe=dataclasses.replace(RECIPE, noise_sigma=0.5))
    process(track, other)
    assert len(list((tmp_path / "parts").rglob("*.parquet"))) == 2


def test_a_track_that_cannot_be_used_is_a_dead_letter(models: Models, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(0), RATE)
    data = path.read_bytes()
    track = Track(
        track_id=hashlib.sha256(data).hexdigest(), uri=path.as_uri(), size_bytes=len(data)
    )
    (output,) = process(track, config(tmp_path / "parts"))
    assert isinstance(output, beam.pvalue.TaggedOutput)
    assert output.tag == "dead_letters"
    assert output.value == DeadLetter(
        uri=track.uri,
        stage="EncodeTracks",
        reason="empty",
        message=output.value.message,
        track_id=track.track_id,
    )
    assert output.value.message
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_track_that_was_changed_is_a_dead_letter(models: Models, tmp_path: Path) -> None:
    track = write_track(tmp_path / "a.wav", tone(1, hz=300))
    write_track(tmp_path / "a.wav", tone(1, hz=301))
    (output,) = process(track, config(tmp_path / "parts"))
    assert (output.value.reason, output.value.track_id) == ("content_changed", track.track_id)
    assert not list(tmp_path.rglob("*.parquet"))


def test_other_weights_than_those_of_the_launch_stop_the_job(
    models: Models, tmp_path: Path
) -> None:
    track = write_track(tmp_path / "a.wav", tone(1, hz=300))
    job = dataclasses.replace(config(tmp_path / "parts"), weights=(("acoustic", "other"),))
    with pytest.raises(WeightsMismatchError, match="launched with"):
        process(track, job)


def test_trouble_of_the_machine_is_not_a_dead_letter(
    models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = write_track(tmp_path / "a.wav", tone(1, hz=300))

    def fail(self: FakeCodec, audio: np.ndarray) -> np.ndarray:
        raise MemoryError("no memory left on the device")

    monkeypatch.setattr(FakeCodec, "encode", fail)
    with pytest.raises(MemoryError):
        process(track, config(tmp_path / "parts"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_worker_is_started_once(models: Models, tmp_path: Path) -> None:
    track = write_track(tmp_path / "a.wav", tone(0.5, hz=300))
    calls: list[int] = []
    job = config(tmp_path / "parts", start_process=lambda: calls.append(os.getpid()))
    process(track, job)
    assert calls == [os.getpid()]
