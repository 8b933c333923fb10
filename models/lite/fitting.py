"""Fits the codebooks of the lite models to music: pure functions from frames to tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file

from singsong.models.kmeans import assign, fit_kmeans
from singsong.models.lite import acoustic as lite_acoustic
from singsong.models.lite import semantic as lite_semantic
from singsong.models.lite.envelope import COEFFICIENTS, band_profile, outlines, scales
from singsong.models.lite.features import FEATURES
from singsong.models.lite.mdct import mdct
from singsong.models.lite.shapes import fit_books
from singsong.schemas.arrays import FloatArray
from singsong.schemas.seeds import generator

SHAPE_DIMS = 224
"""Coefficients that shapes are coded over, up to 5.6 kHz; above them there is only noise."""

_NOISE_SIGMA = 0.01
_QUIETEST_DB = -30.0
_ALTERED = 0.25
"""Share of the clips that get noise, and share that are turned down."""
_BLOCK = 8192
_LEAST_STD = 1e-3


def acoustic_training_frames(
    audio: FloatArray, *, seed: int, key: str, max_frames: int
) -> FloatArray:
    """Returns MDCT frames of a clip to fit the acoustic codec on: float32 [n, COEFFICIENTS].

    Some clips are turned down, and to some is added the noise of the noisy vocals, so that the
    codebooks also know quiet and noisy frames.

    Args:
        audio: float32 [samples] at 16 kHz.
        seed: The run's seed.
        key: Names the clip; the frames and the changes depend on it and the seed alone.
        max_frames: Most frames to draw; a shorter clip gives them all.

    Paper: 3.4 and 4.5, noise with sigma 0.01 on the vocals.

    Raises:
        ValueError: The audio is not one clip with a sample in it, or max_frames is not positive.
    """
    rng = generator(seed=seed, purpose="acoustic training frames", key=key)
    altered = _altered(audio, rng)
    return _drawn(mdct(altered, hop=lite_acoustic.GEOMETRY.hop_samples), max_frames, rng)


def semantic_training_frames(
    audio: FloatArray, *, seed: int, key: str, max_frames: int
) -> FloatArray:
    """Returns features of a clip to fit the semantic encoder on: float32 [n, FEATURES].

    Args:
        audio: float32 [samples] at 16 kHz.
        seed: The run's seed.
        key: Names the clip; the frames and the changes depend on it and the seed alone.
        max_frames: Most frames to draw; a shorter clip gives them all.

    Raises:
        ValueError: The audio is not one clip with a sample in it, or max_frames is not positive.
    """
    rng = generator(seed=seed, purpose="semantic training frames", key=key)
    return _drawn(lite_semantic.clip_features(_altered(audio, rng)), max_frames, rng)


def fit_acoustic_codebooks(
    frames: FloatArray,
    *,
    seed: int,
    iterations: int,
    codes: int = lite_acoustic.GEOMETRY.codebook_size,
) -> dict[str, torch.Tensor]:
    """Returns the tensors of a `LiteAcousticCodec`: codebooks in float16, profile in float32.

    Args:
        frames: float32 [n, COEFFICIENTS] of `acoustic_training_frames`. Their order counts: bring
            them into one that does not depend on the run.
        seed: Of the first codes and the replacements of dead ones.
        iterations: Rounds of k-means for each codebook.
        codes: Size of each codebook; an even number, since a shape has two signs.

    Raises:
        ValueError: The frames are of another shape, or fewer than codes.
    """
    _check_frames(frames, dims=COEFFICIENTS)
    points = torch.from_numpy(frames)
    outline = outlines(points)
    envelopes = fit_kmeans(
        outline,
        codes=codes - 1,
        iterations=iterations,
        rng=generator(seed=seed, purpose="acoustic envelopes", key=""),
    )
    # Digital silence is a code of its own, whether or not the music had any.
    silence = outlines(torch.zeros(1, COEFFICIENTS))
    envelopes = torch.cat([silence, envelopes]).to(torch.float16)
    books = fit_books(
        _normalised(points, outline, envelopes.to(torch.float32)),
        books=lite_acoustic.GEOMETRY.codebooks - 1,
        shapes=codes // 2,
        iterations=iterations,
        rng=generator(seed=seed, purpose="acoustic shapes", key=""),
    )
    return {
        "envelopes": envelopes,
        "shapes": books.to(torch.float16),
        "profile": band_profile(points),
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
        frames: float32 [n, FEATURES] of `semantic_training_frames`. Their order counts: bring
            them into one that does not depend on the run.
        seed: Of the first codes and the replacements of dead ones.
        iterations: Rounds of k-means.
        codes: Size of the codebook.

    Raises:
        ValueError: The frames are of another shape, or fewer than codes.
    """
    _check_frames(frames, dims=FEATURES)
    mean = torch.from_numpy(frames.mean(axis=0, dtype=np.float64).astype(np.float32))
    std = torch.from_numpy(frames.std(axis=0, dtype=np.float64).astype(np.float32))
    # A feature that never changes says nothing; it must not divide by zero either.
    std = std.clamp(min=_LEAST_STD)
    centroids = fit_kmeans(
        lite_semantic.weighted(torch.from_numpy(frames), mean=mean, std=std),
        codes=codes,
        iterations=iterations,
        rng=generator(seed=seed, purpose="semantic centroids", key=""),
    )
    return {"mean": mean, "std": std, "centroids": centroids.to(torch.float16)}


def save_tensors(tensors: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Writes tensors to a safetensors file, which the models' `load` reads.

    Args:
        tensors: What a `fit_` function gave.
        path: The file; its folder must exist.
    """
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _altered(audio: FloatArray, rng: np.random.Generator) -> FloatArray:
    quieter, noisy = rng.random(2) < _ALTERED
    gain_db = rng.uniform(_QUIETEST_DB, 0) if quieter else 0.0
    altered = audio * np.float32(10 ** (gain_db / 20))
    if noisy:
        altered = altered + _NOISE_SIGMA * rng.standard_normal(audio.shape, np.float32)
    return altered.astype(np.float32)


def _drawn(frames: FloatArray, max_frames: int, rng: np.random.Generator) -> FloatArray:
    if max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, found {max_frames}")
    count = min(max_frames, len(frames))
    return frames[np.sort(rng.choice(len(frames), count, replace=False))]


def _normalised(
    frames: torch.Tensor, outline: torch.Tensor, envelopes: torch.Tensor
) -> torch.Tensor:
    """Returns what is left to the shapes: float32 [n, SHAPE_DIMS]."""
    codes, _ = assign(outline, envelopes)
    divisors = scales(envelopes, whitening=lite_acoustic.WHITENING)[:, :SHAPE_DIMS]
    points = frames[:, :SHAPE_DIMS].clone()
    for start in range(0, len(points), _BLOCK):
        points[start : start + _BLOCK] /= divisors[codes[start : start + _BLOCK]]
    return points


def _check_frames(frames: npt.NDArray[np.float32], *, dims: int) -> None:
    if frames.ndim != 2 or frames.shape[1] != dims or frames.dtype != np.float32:
        raise ValueError(f"frames must be float32 [n, {dims}], found {frames.dtype} {frames.shape}")
