"""What a model is given to read of a singer: windows, their noise, and their codes."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import soxr

from singsong.generation.song_windows import window_layout
from singsong.generation.vocal_windows import VocalWindows
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe
from tests.support.keyed_random import keyed
from tests.support.recording_models import NOISE_SEED, RATE, SIGMA, voice, windows_of


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
