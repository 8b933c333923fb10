"""What a model is given to read of a singer: windows, their noise, and their codes."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import soxr

from singsong.generation.song_windows import window_layout
from singsong.generation.vocal_windows import VocalWindows
from singsong.schemas.geometry import AcousticGeometry
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe
from singsong.schemas.records import Geometry
from tests.support.keyed_random import keyed
from tests.support.recording_models import (
    NOISE_SEED,
    RATE,
    SIGMA,
    RecordingModel,
    voice,
    windows_of,
)


def cut_by_hand(vocals: np.ndarray) -> np.ndarray:
    """Returns windows of a second, half a second apart, the last one filled up with silence."""
    cut = []
    for start in range(0, len(vocals), RATE // 2):
        window = np.zeros(RATE, np.float32)
        piece = vocals[start : start + RATE]
        window[: len(piece)] = piece
        cut.append(window)
        if start + RATE >= len(vocals):
            break
    return np.stack(cut)


def heard_by(windows: VocalWindows, vocals: np.ndarray, rate_hz: int = RATE) -> list[np.ndarray]:
    windows.tokens(vocals, sample_rate_hz=rate_hz)
    return [model.heard for model in (windows.acoustic, windows.semantic)]


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.2])
def test_a_model_of_clean_vocals_reads_clean_ones(seconds: float) -> None:
    vocals = voice(seconds)
    for heard in heard_by(windows_of(noisy=False), vocals):
        np.testing.assert_array_equal(heard, cut_by_hand(vocals))


@pytest.mark.parametrize("seconds", [0.4, 1.0, 2.2])
def test_a_model_of_noisy_vocals_reads_the_noise_of_its_dataset(seconds: float) -> None:
    """Both the recipe's level and its seed, another noise in each window and for each voice."""
    vocals = voice(seconds)
    clean = cut_by_hand(vocals)
    name = hashlib.sha256(vocals.tobytes()).hexdigest()
    for heard in heard_by(windows_of(noisy=True), vocals):
        for number, window in enumerate(heard):
            random = keyed(NOISE_SEED, "noise", f"{name} window {number}")
            noise = random.standard_normal(16000, dtype=np.float32)
            noise = soxr.resample(noise, 16000, RATE, quality="HQ")
            expected = clean[number] + np.float32(SIGMA) * noise
            np.testing.assert_allclose(window, expected, rtol=0, atol=1e-6)


def test_the_noise_has_its_level_and_no_two_windows_share_it() -> None:
    noise = []
    for vocals in (voice(2.5), voice(2.5, hz=120.0)):
        for heard in heard_by(windows_of(noisy=True), vocals)[:1]:
            noise += list(heard - cut_by_hand(vocals))
    assert len(noise) == 8
    # Drawn at 16 kHz, of which a tenth of the band is left.
    assert np.std(noise) == pytest.approx(SIGMA * np.sqrt(0.1), rel=0.06)
    correlations = np.corrcoef(noise)[np.triu_indices(8, 1)]
    assert np.abs(correlations).max() < 0.12  # of 1600 samples: 0.025 is one deviation


@pytest.mark.parametrize("rate_hz", [800, 3200, 4410])
def test_windows_hold_the_pitch_and_the_time_of_the_voice(rate_hz: int) -> None:
    """Whatever the rate of the file, and at the rate of each of the two models."""
    windows = windows_of(noisy=False, semantic_rate_hz=800)
    for heard, model_hz in zip(
        heard_by(windows, voice(2.5, rate_hz), rate_hz), (RATE, 800), strict=True
    ):
        assert heard.shape == (4, model_hz)
        for number, window in enumerate(heard):
            expected = voice(2.5, model_hz)[number * model_hz // 2 :][:model_hz]
            inside = slice(model_hz // 16, -model_hz // 16)
            np.testing.assert_allclose(window[inside], expected[inside], atol=0.02)


@pytest.mark.parametrize("featurization", ["SA-SA", "S-SA", "A-SA", "SA-A", "A-A"])
def test_its_tokens_are_those_of_training(featurization: str) -> None:
    """2 semantic frames of 7 codes from token 2 on, then 4 frames of 2 coarse books of 9 codes."""
    windows = windows_of(featurization=featurization)
    found = windows.tokens(voice(1.2), sample_rate_hz=RATE)
    semantic = np.arange(2 * 2).reshape(2, 2) + 2
    codes = (np.arange(2 * 4 * 3) % 9).reshape(2, 4, 3)[..., :2]
    parts = {"S": semantic, "A": (codes + np.array([9, 18])).reshape(2, 8)}
    inputs, targets = featurization.split("-")
    np.testing.assert_array_equal(found, np.concatenate([parts[kind] for kind in inputs], 1))
    layout = windows.layout
    semantic_frames = 2 if "S" in targets else 0
    assert (layout.semantic_frames, layout.semantic_hop) == (semantic_frames, semantic_frames // 2)
    assert (layout.coarse_frames, layout.coarse_hop) == (4, 2)


@pytest.mark.parametrize(
    ("hop_fraction", "hops"), [(0.25, (1, 2)), (0.5, (2, 4)), (0.75, (3, 6)), (1.0, (4, 8))]
)
def test_a_hop_is_its_part_of_a_window(hop_fraction: float, hops: tuple[int, int]) -> None:
    windows = windows_of()
    recipe = DatasetRecipe(encode=EncodeRecipe(clip_seconds=2.0))
    provenance = replace(windows.provenance, recipe=recipe)
    layout = window_layout(provenance, hop_fraction)
    assert (layout.semantic_frames, layout.coarse_frames) == (4, 8)
    assert (layout.semantic_hop, layout.coarse_hop) == hops


# 441000 samples are 861.3 hops of 512: training clips end in 344 samples of silence.
DAC_44KHZ = AcousticGeometry(
    sample_rate_hz=44100, hop_samples=512, codebooks=9, coarse_codebooks=3, codebook_size=1024
)


def windows_of_dac(clip_seconds: float = 10.0) -> VocalWindows:
    windows = windows_of(noisy=False, semantic_rate_hz=800)
    recipe = DatasetRecipe(encode=EncodeRecipe(clip_seconds=clip_seconds))
    geometry = Geometry(acoustic=DAC_44KHZ, semantic=windows.semantic.geometry)
    provenance = replace(windows.provenance, recipe=recipe, geometry=geometry)
    acoustic = RecordingModel(DAC_44KHZ, (9,))
    return replace(windows, provenance=provenance, acoustic=acoustic)


@pytest.mark.parametrize(("clip_seconds", "padded"), [(10.0, (0, 1)), (5.12, (1, 0))])
def test_a_frame_with_silence_of_a_clip_s_end_is_known(
    clip_seconds: float, padded: tuple[int, int]
) -> None:
    """5.12 s are 441 hops of 512 samples, and 10.24 semantic frames."""
    layout = windows_of_dac(clip_seconds).layout
    assert (layout.semantic_padded, layout.coarse_padded) == padded
    layout = window_layout(replace(windows_of().provenance))
    assert (layout.semantic_padded, layout.coarse_padded) == (0, 0)


def test_windows_start_at_whole_frames_of_any_codec() -> None:
    """Hops of 431 frames: 220672 samples, which are 4003.12 at the rate of the encoder."""
    windows = windows_of_dac()
    vocals = np.arange(70 * 220_672, dtype=np.float32) / (70 * 220_672)
    windows.tokens(vocals, sample_rate_hz=44100)
    acoustic, semantic = windows.acoustic.heard, windows.semantic.heard
    assert len(acoustic) == len(semantic) == 70
    for number in (0, 1, 69):
        start = number * 220_672
        heard = vocals[start : start + 441_000]
        np.testing.assert_array_equal(acoustic[number, : len(heard)], heard)
        # The vocals rise steadily, so their level tells the time.
        seconds = semantic[number, 400] * 70 * 220_672 / 44100
        assert seconds == pytest.approx(start / 44100 + 400 / 800, abs=1.5 / 800)


@pytest.mark.parametrize(
    ("samples", "windows"),
    [(441_000, 1), (441_020, 1), (441_100, 2), (441_000 + 60 * 220_672, 61)],
)
def test_as_many_windows_as_cover_the_vocals(samples: int, windows: int) -> None:
    """A few samples too many cost none; five minutes of hops do not add up to one too few."""
    assert windows_of_dac().count(samples, sample_rate_hz=44100) == windows
    assert windows_of_dac().count(441_100 + 60 * 220_672, sample_rate_hz=44100) == 62
