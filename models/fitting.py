"""The models that can be fitted to music: how to sample training frames, and how to fit them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from singsong.models.devices import set_numerics
from singsong.models.kmeans import fit_kmeans
from singsong.models.lite import fitting as lite_fitting
from singsong.models.registry import load_ssl_features
from singsong.models.ssl_features import SslFeatures
from singsong.schemas.arrays import FloatArray
from singsong.schemas.recipe import ModelSpec
from singsong.schemas.seeds import generator

_LEAST_STD = 1e-6
_LITE_RATE_HZ = 16000


@dataclass(frozen=True, kw_only=True)
class Fitter:
    """How to fit one model.

    Attributes:
        sample_rate_hz: Rate of the clips it takes.
        training_frames: Takes a clip, float32 [samples], and the keywords `seed`, `key` and
            `max_frames`; returns float32 [n, dims].
        fit: Takes float32 [n, dims] and the keywords `seed`, `iterations` and `codes`;
            returns tensors.
    """

    sample_rate_hz: int
    training_frames: Callable[..., FloatArray]
    fit: Callable[..., Mapping[str, torch.Tensor]]


def load_fitter(kind: str, encoder: ModelSpec | None, *, device: str) -> Fitter:
    """Returns the fitter of a model.

    Args:
        kind: "acoustic" or "semantic", of the lite models.
        encoder: Fit a semantic codebook for this encoder ("w2v-bert" or "hubert") instead.
        device: Where the encoder runs.

    Raises:
        ValueError: The kind or the encoder is unknown, or its weights are missing.
    """
    if encoder is not None:
        return _ssl_fitter(kind, encoder, device=device)
    fitters = {
        "acoustic": (lite_fitting.acoustic_training_frames, lite_fitting.fit_acoustic_codebooks),
        "semantic": (lite_fitting.semantic_training_frames, lite_fitting.fit_semantic_codebook),
    }
    if kind not in fitters:
        raise ValueError(f"what to fit must be one of {sorted(fitters)}, found {kind!r}")
    training_frames, fit = fitters[kind]
    return Fitter(sample_rate_hz=_LITE_RATE_HZ, training_frames=training_frames, fit=fit)


def _ssl_fitter(kind: str, encoder: ModelSpec, *, device: str) -> Fitter:
    if kind != "semantic":
        raise ValueError(f"an encoder has semantic codes only, found {kind!r}")
    set_numerics()
    features = load_ssl_features(encoder, device=device, dtype="float32", batch_clips=1)
    return Fitter(
        sample_rate_hz=features.sample_rate_hz,
        training_frames=partial(ssl_training_frames, features),
        fit=fit_ssl_codebook,
    )


def ssl_training_frames(
    features: SslFeatures, audio: FloatArray, *, seed: int, key: str, max_frames: int
) -> FloatArray:
    """Returns a keyed sample of the features of a clip: float32 [n, dims], n <= `max_frames`.

    Args:
        features: The encoder.
        audio: float32 [samples] at the encoder's rate.
        seed: The run's seed.
        key: Names the clip.
        max_frames: How many frames to draw at most.
    """
    frames = features.features(audio[None])[0]
    rng = generator(seed=seed, purpose="ssl training frames", key=key)
    count = min(max_frames, len(frames))
    return frames[np.sort(rng.choice(len(frames), count, replace=False))]


def fit_ssl_codebook(
    frames: FloatArray, *, seed: int, iterations: int, codes: int
) -> dict[str, torch.Tensor]:
    """Returns the codebook of an encoder: "mean" and "std" [dims], "centroids" [codes, dims].

    Args:
        frames: float32 [n, dims].
        seed: Seed of the first centroids.
        iterations: Rounds of k-means.
        codes: Size of the codebook.

    Raises:
        ValueError: There are fewer frames than codes.

    Paper: 3.2, k-means. Default: per-dimension z-normalisation, as AudioLM does.
    """
    points = torch.from_numpy(frames)
    mean, std = points.mean(0), points.std(0).clamp(min=_LEAST_STD)
    centroids = fit_kmeans(
        (points - mean) / std,
        codes=codes,
        iterations=iterations,
        rng=generator(seed=seed, purpose="ssl centroids", key=""),
    )
    return {"mean": mean, "std": std, "centroids": centroids}
