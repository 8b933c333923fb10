"""Fits the codebooks of the lite models: pure functions from audio and frames to tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from singsong.models.kmeans import assign, fit_kmeans
from singsong.models.lite import acoustic as lite_acoustic
from singsong.models.lite import semantic as lite_semantic
from singsong.models.lite.envelope import COEFFICIENTS, band_profile, outlines, scales
from singsong.models.lite.features import FEATURES
from singsong.models.lite.formats import FORMATS, NEWEST, WHITENING
from singsong.models.lite.mdct import mdct
from singsong.models.lite.shapes import fit_books
from singsong.schemas.arrays import FloatArray
from singsong.schemas.seeds import generator

SHAPE_DIMS = 224
"""Number of coefficients coded by shapes, up to 5.6 kHz; those above are only filled with noise."""

_LEVEL_WEIGHT = FORMATS[NEWEST].level_weight
_NOISE_SIGMA = 0.01
_MIN_GAIN_DB = -30.0
_AUGMENTED_SHARE = 0.25
"""Share of the clips that get noise, and share of those that are attenuated."""
_BLOCK = 8192
_LEAST_STD = 1e-3


def acoustic_training_frames(
    audio: FloatArray, *, seed: int, key: str, max_frames: int
) -> FloatArray:
    """Returns MDCT frames of a clip for fitting the acoustic codec: float32 [n, COEFFICIENTS].

    Some clips are attenuated, and some get the noise of the noisy vocals, so that the codebooks
    cover quiet and noisy frames too.

    Args:
        audio: float32 [samples] at 16 kHz.
        seed: The run's seed.
        key: Names the clip; the frames and their augmentation depend only on it and the seed.
        max_frames: Maximum number of frames to draw; a shorter clip gives all its frames.

    Paper: 3.4 and 4.5, noise with sigma 0.01 on the vocals.

    Raises:
        ValueError: The audio is not one-dimensional or is empty, or max_frames is not positive.
    """
    rng = generator(seed=seed, purpose="acoustic training frames", key=key)
    frames = mdct(_augment(audio, rng), hop=lite_acoustic.GEOMETRY.hop_samples)
    return _draw_frames(frames, max_frames=max_frames, rng=rng)


def semantic_training_frames(
    audio: FloatArray, *, seed: int, key: str, max_frames: int
) -> FloatArray:
    """Returns features of a clip for fitting the semantic encoder: float32 [n, FEATURES].

    Args:
        audio: float32 [samples] at 16 kHz.
        seed: The run's seed.
        key: Names the clip; the frames and their augmentation depend only on it and the seed.
        max_frames: Maximum number of frames to draw; a shorter clip gives all its frames.

    Raises:
        ValueError: The audio is not one-dimensional or is empty, or max_frames is not positive.
    """
    rng = generator(seed=seed, purpose="semantic training frames", key=key)
    frames = lite_semantic.clip_features(_augment(audio, rng))
    return _draw_frames(frames, max_frames=max_frames, rng=rng)


def fit_acoustic_codebooks(
    frames: FloatArray,
    *,
    seed: int,
    iterations: int,
    codes: int = lite_acoustic.GEOMETRY.codebook_size,
) -> dict[str, torch.Tensor]:
    """Returns the tensors of a `LiteAcousticCodec` of the newest format.

    The codebooks are float16, the profile is float32.

    Args:
        frames: float32 [n, COEFFICIENTS] from `acoustic_training_frames`. The result depends on
            their order, so sort them in a way that does not depend on the run.
        seed: Seed of the initial codes and of reseeding dead ones.
        iterations: Rounds of k-means for each codebook.
        codes: Size of each codebook; even, since each shape has two signs.

    Raises:
        ValueError: The frames have another shape, or there are fewer frames than codes.
    """
    _check_frames(frames, dims=COEFFICIENTS)
    points = torch.from_numpy(frames)
    outline = outlines(points, level_weight=_LEVEL_WEIGHT)
    envelopes = _fit_envelopes(outline, codes=codes, seed=seed, iterations=iterations)
    books = fit_books(
        _normalise(points, outline, envelopes.to(torch.float32)),
        books=lite_acoustic.GEOMETRY.codebooks - 1,
        shapes=codes // 2,
        iterations=iterations,
        rng=generator(seed=seed, purpose="acoustic shapes", key=""),
    )
    return {
        "envelopes": envelopes,
        "shapes": books.to(torch.float16),
        "profile": band_profile(points),
        "format": torch.tensor(NEWEST),
    }


def fit_semantic_codebook(
    frames: FloatArray,
    *,
    seed: int,
    iterations: int,
    codes: int = lite_semantic.GEOMETRY.codebook_size,
) -> dict[str, torch.Tensor]:
    """Returns the tensors of a `LiteSemanticEncoder`: statistics in float32, centroids in float16.

    Args:
        frames: float32 [n, FEATURES] from `semantic_training_frames`. The result depends on
            their order, so sort them in a way that does not depend on the run.
        seed: Seed of the initial codes and of reseeding dead ones.
        iterations: Rounds of k-means.
        codes: Size of the codebook.

    Raises:
        ValueError: The frames have another shape, or there are fewer frames than codes.
    """
    _check_frames(frames, dims=FEATURES)
    mean = torch.from_numpy(frames.mean(axis=0, dtype=np.float64).astype(np.float32))
    std = torch.from_numpy(frames.std(axis=0, dtype=np.float64).astype(np.float32))
    # Avoids division by zero for a feature that never changes.
    std = std.clamp(min=_LEAST_STD)
    centroids = fit_kmeans(
        lite_semantic.weighted(torch.from_numpy(frames), mean=mean, std=std),
        codes=codes,
        iterations=iterations,
        rng=generator(seed=seed, purpose="semantic centroids", key=""),
    )
    return {"mean": mean, "std": std, "centroids": centroids.to(torch.float16)}


def _fit_envelopes(
    outline: torch.Tensor, *, codes: int, seed: int, iterations: int
) -> torch.Tensor:
    """Returns envelopes float16 [codes, BANDS + 1]; the first is digital silence."""
    envelopes = fit_kmeans(
        outline,
        codes=codes - 1,
        iterations=iterations,
        rng=generator(seed=seed, purpose="acoustic envelopes", key=""),
    )
    # Silence gets its own code even if the music has none.
    silence = outlines(torch.zeros(1, COEFFICIENTS), level_weight=_LEVEL_WEIGHT)
    return torch.cat([silence, envelopes]).to(torch.float16)


def _augment(audio: FloatArray, rng: np.random.Generator) -> FloatArray:
    quieter, noisy = rng.random(2) < _AUGMENTED_SHARE
    gain_db = rng.uniform(_MIN_GAIN_DB, 0) if quieter else 0.0
    augmented = audio * np.float32(10 ** (gain_db / 20))
    if noisy:
        augmented = augmented + _NOISE_SIGMA * rng.standard_normal(audio.shape, np.float32)
    return augmented.astype(np.float32)


def _draw_frames(frames: FloatArray, *, max_frames: int, rng: np.random.Generator) -> FloatArray:
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, found {max_frames}")
    count = min(max_frames, len(frames))
    return frames[np.sort(rng.choice(len(frames), count, replace=False))]


def _normalise(
    frames: torch.Tensor, outline: torch.Tensor, envelopes: torch.Tensor
) -> torch.Tensor:
    """Returns the frames divided by their envelopes: float32 [n, SHAPE_DIMS]."""
    codes, _ = assign(outline, envelopes)
    divisors = scales(envelopes, whitening=WHITENING, level_weight=_LEVEL_WEIGHT)[:, :SHAPE_DIMS]
    points = frames[:, :SHAPE_DIMS].clone()
    for start in range(0, len(points), _BLOCK):
        points[start : start + _BLOCK] /= divisors[codes[start : start + _BLOCK]]
    return points


def _check_frames(frames: npt.NDArray[np.float32], *, dims: int) -> None:
    if frames.ndim != 2 or frames.shape[1] != dims or frames.dtype != np.float32:
        raise ValueError(f"frames must be float32 [n, {dims}], found {frames.dtype} {frames.shape}")
