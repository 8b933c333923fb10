"""A semantic encoder that needs no download: spectral shape, level and pitch, then k-means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from singsong.models.checks import check_tensor, encode_each
from singsong.models.kmeans import assign
from singsong.models.lite.bundled import weights_path
from singsong.models.lite.features import FEATURES, MELS, PITCH_CLASSES, log_mel_chroma
from singsong.models.weights import load_safely, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import SemanticGeometry

GEOMETRY = SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=1024)
SHARES = {"shape": 0.38, "level": 0.02, "pitch": 0.6}
"""Weight of each kind of feature in a distance; they sum to 1. Level has little weight, so that a
quieter take of the same music mostly keeps its codes."""


class LiteSemanticEncoder:
    """Codes each 40 ms frame as the nearest centroid; the bundled codebook has 1024.

    Attributes:
        geometry: Sample rate, frame rate and codebook size.
        weights_sha256: Hex digest of the codebook and of the settings that affect the codes.

    Paper: 3.2, in place of a layer of w2v-BERT; 1024 k-means codes at 25 Hz.
    Default: features are z-normalised per dimension before k-means (AudioLM).
    Differs: the features are fixed and cover 128 ms; they do not capture words or phrases.
    """

    geometry: SemanticGeometry
    weights_sha256: str

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Creates an encoder from the tensors of `fit_semantic_codebook`.

        Args:
            tensors: `mean` and `std` [FEATURES], `centroids` [codes, FEATURES].

        Raises:
            ValueError: A tensor is missing, has another shape or is not finite.
        """
        self._mean = check_tensor(tensors, "mean", shape=(FEATURES,))
        self._std = check_tensor(tensors, "std", shape=(FEATURES,))
        self._centroids = check_tensor(tensors, "centroids", shape=(None, FEATURES))
        self.geometry = replace(GEOMETRY, codebook_size=len(self._centroids))
        self.weights_sha256 = tensors_sha256(
            {"mean": self._mean, "std": self._std, "centroids": self._centroids},
            settings={"encoder": "lite", "shares": SHARES},
        )

    @classmethod
    def load(cls, path: str | None = None) -> LiteSemanticEncoder:
        """Returns an encoder with the codebook of a file, or with the bundled one.

        Args:
            path: A safetensors file, the number of a bundled codebook, or None for the newest.

        Raises:
            WeightsError: The file is missing or broken.
            ValueError: Its tensors are not those of a lite encoder.
        """
        return cls(load_safely(weights_path("semantic", path)))

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes uint16 [clips, frames]; the last frame is zero-padded.

        The argument and the errors are those of `encode_each`.
        """
        return encode_each(audio, self._encode_clip)

    def _encode_clip(self, clip: FloatArray) -> CodeArray:
        frames = torch.from_numpy(clip_features(clip))
        codes, _ = assign(weighted(frames, mean=self._mean, std=self._std), self._centroids)
        return codes.numpy().astype(np.uint16)


def clip_features(clip: FloatArray) -> FloatArray:
    """Returns the features of a clip at the encoder's sample and frame rate.

    Args:
        clip: float32 [samples].

    Returns:
        float32 [frames, FEATURES].
    """
    return log_mel_chroma(clip, sample_rate_hz=GEOMETRY.sample_rate_hz, hop=GEOMETRY.hop_samples)


def weighted(frames: torch.Tensor, *, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Returns z-normalised features, each kind weighted by its share in a distance.

    Args:
        frames: float32 [frames, FEATURES].
        mean: float32 [FEATURES].
        std: float32 [FEATURES].
    """
    shares = torch.cat(
        [
            torch.full((MELS,), SHARES["shape"] / MELS),
            torch.full((1,), SHARES["level"]),
            torch.full((PITCH_CLASSES,), SHARES["pitch"] / PITCH_CLASSES),
        ]
    )
    return (frames - mean) / std * shares.sqrt()
