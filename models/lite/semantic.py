"""The semantic encoder that needs no download: spectral shape, level and pitch, then k-means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from singsong.models.kmeans import assign
from singsong.models.lite.checks import check_audio, check_tensor
from singsong.models.lite.features import FEATURES, MELS, PITCH_CLASSES, log_mel_chroma
from singsong.models.weights import load_safely, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import SemanticGeometry

GEOMETRY = SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=1024)
WEIGHTS = Path(__file__).with_name("semantic.safetensors")
SHARES = {"shape": 0.38, "level": 0.02, "pitch": 0.6}
"""How much each kind of feature counts in a distance, of 1 in all. Little of it is level, so that a
quieter take of the same music mostly keeps its codes."""


class LiteSemanticEncoder:
    """Codes 40 ms frames by the nearest of mean frames of music, 1024 in ours.

    Attributes:
        geometry: Sample rate, frame rate and codebook size.
        weights_sha256: Hex digest of the codebook and of the settings that shape the result.

    Paper: 3.2, in place of a layer of w2v-BERT; 1024 k-means codes at 25 Hz.
    Default: features are z-normalised per dimension before k-means (AudioLM).
    Differs: the features are fixed and look at 128 ms; nothing in them knows words or phrases.
    """

    geometry: SemanticGeometry
    weights_sha256: str

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes the codebook that `fit_semantic_codebook` gives.

        Args:
            tensors: `mean` and `std` [FEATURES], `centroids` [codes, FEATURES].

        Raises:
            ValueError: A tensor is missing, of another shape, or not finite.
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
        """Returns the encoder of a file, or of the one that comes with this package.

        Args:
            path: A safetensors file, or None for ours.

        Raises:
            WeightsError: The file is missing or broken.
            ValueError: It holds other tensors than a lite encoder's.
        """
        return cls(load_safely(WEIGHTS if path is None else path))

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes [clips, frames] of audio [clips, samples] in [-1, 1].

        Args:
            audio: float32 [clips, samples], a clip and a sample or more; the last frame is filled
                up with zeros.

        Raises:
            ValueError: The audio is of another type or shape, or is not finite.
        """
        check_audio(audio)
        # Clip by clip, so that no clip's codes depend on its company.
        return np.stack([self._encode_clip(clip) for clip in audio])

    def _encode_clip(self, clip: FloatArray) -> CodeArray:
        frames = torch.from_numpy(clip_features(clip))
        codes, _ = assign(weighted(frames, mean=self._mean, std=self._std), self._centroids)
        return codes.numpy().astype(np.uint16)


def clip_features(clip: FloatArray) -> FloatArray:
    """Returns the features of a clip at the encoder's rates: float32 [frames, FEATURES].

    Args:
        clip: float32 [samples].
    """
    return log_mel_chroma(clip, sample_rate_hz=GEOMETRY.sample_rate_hz, hop=GEOMETRY.hop_samples)


def weighted(frames: torch.Tensor, *, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Returns z-normalised features, each kind weighted by its share of the distance.

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
