"""What is stored of a clip, against stems that were known before they were mixed."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import soxr

from singsong.models.bundle import Models
from singsong.schemas.errors import EmptyFileError
from singsong.schemas.recipe import NO_FILTER, EncodeRecipe, LoudnessFilter
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_rows import TrackRows
from tests.support.part_rows import columns_of
from tests.support.stems import (
    ACOUSTIC_RATE,
    RATE,
    RECIPE,
    SAMPLES,
    SECONDS,
    SEMANTIC_RATE,
    Stems,
    TellingCodec,
    TellingEncoder,
    sine,
    song,
    telling_models,
)

TRACK_ID = hashlib.sha256(b"the track").hexdigest()
SOURCES = ("vocals", "vocals_noisy", "instrumental")


def track_rows(
    models: Models,
    recipe: EncodeRecipe = RECIPE,
    track_id: str = TRACK_ID,
    encode_filter: LoudnessFilter = NO_FILTER,
):
    return TrackRows(
        track_id=track_id,
        recipe=recipe,
        models=models,
        watch=Stopwatch(),
        encode_filter=encode_filter,
    )


def blocks(clips: Sequence[Stems], size: int = 5000) -> Iterable[np.ndarray]:
    audio = np.concatenate([clip.mix for clip in clips])
    return [audio[start : start + size] for start in range(0, len(audio), size)]


def encode(
    clips: Sequence[Stems],
    recipe: EncodeRecipe = RECIPE,
    *,
    models: Models | None = None,
    track_id: str = TRACK_ID,
    encode_filter: LoudnessFilter = NO_FILTER,
) -> list[dict]:
    models = models or telling_models(clips, separated=recipe.separator is not None)
    job = track_rows(models, recipe, track_id, encode_filter)
    return [columns_of(row) for row in job.rows(blocks(clips))]


def clip_name(index: int, track_id: str = TRACK_ID) -> str:
    return f"{track_id[:32]}-{index:06d}"


def noise(rate_hz: int, *, sigma: float, seed: int, clip_id: str) -> np.ndarray:
    """The documented noise: Philox, keyed by the sha256 of seed, purpose and clip id.

    It is drawn at 16 kHz, and resampled.
    """
    name = f'[{seed}, "noise", "{clip_id}"]'.encode()
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    samples = round(SECONDS * 16000)
    draws = np.random.Generator(np.random.Philox(key=key)).standard_normal(samples, np.float32)
    if rate_hz != 16000:
        draws = soxr.resample(draws, 16000, rate_hz, quality="HQ")
    return np.float32(sigma) * draws


def sounds(
    clip: Stems, rate_hz: int, *, clip_id: str, sigma: float = 0.01, seed: int = 0
) -> dict[str, np.ndarray]:
    """What a model must hear of a clip, by source."""
    vocals = soxr.resample(clip.vocals, RATE, rate_hz, quality="HQ")
    instrumental = soxr.resample(clip.mix - clip.vocals, RATE, rate_hz, quality="HQ")
    noisy = vocals + noise(rate_hz, sigma=sigma, seed=seed, clip_id=clip_id)
    return {"vocals": vocals, "vocals_noisy": noisy, "instrumental": instrumental}


def assert_codes(row: dict, clip: Stems, clip_id: str) -> None:
    acoustic = sounds(clip, ACOUSTIC_RATE, clip_id=clip_id)
    semantic = sounds(clip, SEMANTIC_RATE, clip_id=clip_id)
    for source in SOURCES:
        want = TellingCodec().encode(acoustic[source][None])[0]
        np.testing.assert_array_equal(row[f"{source}_acoustic"], want, source)
        want = TellingEncoder().encode(semantic[source][None])[0]
        np.testing.assert_array_equal(row[f"{source}_semantic"], want, source)


@pytest.mark.parametrize("batch_clips", [1, 2, 3])
def test_each_clip_has_the_codes_of_its_own_stems(batch_clips: int) -> None:
    clips = song(5)
    models = telling_models(clips)
    rows = encode(clips, replace(RECIPE, batch_clips=batch_clips), models=models)
    assert len(rows) == len(clips)
    for number, (row, clip) in enumerate(zip(rows, clips, strict=True)):
        assert row["status"] == "encoded"
        assert_codes(row, clip, clip_name(number))
    sizes = [min(batch_clips, 5 - start) for start in range(0, 5, batch_clips)]
    assert models.separator.batches == sizes


def test_the_codes_of_the_sources_differ() -> None:
    """Without it, no test above could tell one source from another."""
    for row in encode(song(3)):
        for kind in ("acoustic", "semantic"):
            assert len({row[f"{source}_{kind}"].tobytes() for source in SOURCES}) == 3


@pytest.mark.parametrize(("sigma", "seed"), [(0.01, 0), (0.03, 0), (0.01, 7), (0.0, 3)])
def test_models_hear_the_stems_and_the_documented_noise(sigma: float, seed: int) -> None:
    clips = song(3)
    models = telling_models(clips)
    recipe = replace(RECIPE, noise_sigma=sigma, noise_seed=seed, batch_clips=2)
    encode(clips, recipe, models=models)
    for model, rate_hz in ((models.acoustic, ACOUSTIC_RATE), (models.semantic, SEMANTIC_RATE)):
        want = [
            sounds(clip, rate_hz, clip_id=clip_name(number), sigma=sigma, seed=seed)[source]
            for number, clip in enumerate(clips)
            for source in SOURCES
        ]
        np.testing.assert_allclose(model.heard, want, rtol=0, atol=1e-7)


def test_noise_differs_between_clips_and_between_tracks() -> None:
    silence = Stems(np.zeros(SAMPLES, np.float32), np.zeros(SAMPLES, np.float32))
    heard = []
    for track_id in (TRACK_ID, hashlib.sha256(b"another").hexdigest()):
        models = telling_models([silence])
        encode([silence] * 2, models=models, track_id=track_id)
        heard += [models.acoustic.heard[number].tobytes() for number in (1, 4)]
    assert len(set(heard)) == 4


def test_rows_say_where_a_clip_lies() -> None:
    recipe = replace(RECIPE, batch_clips=2)
    for number, row in enumerate(encode(song(3), recipe)):
        assert row["clip_id"] == clip_name(number)
        assert row["track_id"] == TRACK_ID
        assert row["clip_index"] == number
        assert row["start_s"] == pytest.approx(number * SECONDS)
        assert (row["reason"], row["message"]) == ("", "")


def test_facts_count_the_samples_and_the_tail() -> None:
    clips = song(2)
    tail = Stems(sine(100, 0.1, samples=441), np.zeros(441, np.float32))
    models = telling_models(clips)
    job = track_rows(models)
    assert len(list(job.rows(blocks([*clips, tail])))) == 2
    facts = job.facts()
    assert facts.track_id == TRACK_ID
    assert facts.seconds == pytest.approx(2 * SECONDS + 0.01)
    assert facts.tail_seconds == pytest.approx(0.01)


def test_a_track_shorter_than_a_clip_has_no_rows_and_one_without_samples_is_refused() -> None:
    job = track_rows(telling_models([]))
    assert list(job.rows([sine(100, 0.1, samples=SAMPLES - 1)])) == []
    assert job.facts().tail_seconds == pytest.approx((SAMPLES - 1) / RATE)
    with pytest.raises(EmptyFileError, match="no samples"):
        list(track_rows(telling_models([])).rows([]))


def test_clips_come_a_batch_at_a_time() -> None:
    clips = song(6)
    taken = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal taken
        for clip in clips:
            taken += 1
            yield clip.mix

    rows = track_rows(telling_models(clips), replace(RECIPE, batch_clips=2)).rows(counted())
    next(rows)
    assert taken == 2


def test_stored_audio_is_that_of_the_source_and_the_clip() -> None:
    clips = song(3)
    for number, row in enumerate(encode(clips, replace(RECIPE, store_audio=True, batch_clips=2))):
        want = sounds(clips[number], ACOUSTIC_RATE, clip_id=clip_name(number))
        for source in SOURCES:
            audio, rate_hz = soundfile.read(io.BytesIO(row[f"{source}_audio"]))
            assert rate_hz == ACOUSTIC_RATE
            np.testing.assert_allclose(audio, want[source], rtol=0, atol=1.01 / 32768)


def test_stored_audio_over_full_scale_is_clipped_and_does_not_wrap() -> None:
    loud = Stems(sine(400, 2.0), sine(100, 0.1))
    (row,) = encode([loud], replace(RECIPE, store_audio=True))
    audio, _ = soundfile.read(io.BytesIO(row["vocals_audio"]))
    want = sounds(loud, ACOUSTIC_RATE, clip_id=clip_name(0))["vocals"].clip(-1, 1)
    np.testing.assert_allclose(audio, want, rtol=0, atol=1.01 / 32768)


def test_audio_is_stored_only_where_the_recipe_says_so() -> None:
    (row,) = encode(song(1))
    assert not [name for name in row if name.endswith("_audio")]


def test_without_a_separator_the_mix_is_encoded() -> None:
    clips = song(3)
    models = telling_models(clips, separated=False)
    rows = encode(clips, replace(RECIPE, separator=None, batch_clips=2), models=models)
    for rate_hz, model in ((ACOUSTIC_RATE, models.acoustic), (SEMANTIC_RATE, models.semantic)):
        want = [soxr.resample(clip.mix, RATE, rate_hz, quality="HQ") for clip in clips]
        np.testing.assert_allclose(model.heard, want, rtol=0, atol=1e-7)
    for row, heard in zip(rows, models.acoustic.heard, strict=True):
        np.testing.assert_array_equal(row["mix_acoustic"], TellingCodec().encode(heard[None])[0])
        assert not [name for name in row if name.startswith(("vocals", "instrumental"))]


def digest(parts: Iterable[np.ndarray]) -> str:
    job = track_rows(telling_models([], separated=False), replace(RECIPE, separator=None))
    list(job.rows(parts))
    return job.facts().audio_sha256


def test_the_fingerprint_is_that_of_all_samples_as_16_bit() -> None:
    values = np.random.default_rng(0).integers(-40000, 40000, 30000).tolist()
    clipped = [min(32767, max(-32767, value)) for value in values]
    data = b"".join(value.to_bytes(2, "little", signed=True) for value in clipped)
    audio = np.array(values, np.float32) / 32767
    assert digest(np.split(audio, 3)) == hashlib.sha256(data).hexdigest()


def test_samples_that_are_not_numbers_have_a_fingerprint() -> None:
    audio = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    assert digest([audio]) == digest([np.array([0, 1, -1, 0.5], np.float32)])


@pytest.mark.parametrize("size", [1000, 8192, 30000])
def test_the_fingerprint_does_not_depend_on_the_blocks(size: int) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, 30000).astype(np.float32)
    whole = digest([audio])
    assert digest(audio[start : start + size] for start in range(0, len(audio), size)) == whole


@pytest.mark.parametrize("position", [0, 15000, 29999])
def test_one_other_sample_is_another_fingerprint(position: int) -> None:
    """Also in a late block, and in the tail that fills no clip."""
    audio = np.random.default_rng(0).uniform(-1, 1, 30000).astype(np.float32)
    other = audio.copy()
    other[position] = -other[position]
    assert digest(np.split(audio, 10)) != digest(np.split(other, 10))


def test_each_step_is_timed_under_its_name() -> None:
    clips = song(1)
    job = track_rows(telling_models(clips))
    list(job.rows(blocks(clips)))
    names = {"decode", "fingerprint", "separate", "loudness", "figures", "resample", "noise"}
    assert set(job.watch.seconds) == names | {"acoustic", "semantic"}
