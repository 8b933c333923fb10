"""Semantic codes: the nearest k-means centroid of a layer of a self-supervised encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from singsong.models.kmeans import assign
from singsong.models.ssl_features import SslFeatures
from singsong.models.weights import WeightsError, load_safely, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import SemanticGeometry


class SslSemanticEncoder:
    """Encodes audio as k-means codes of normalised hidden states (`SemanticEncoder`).

    Attributes:
        geometry: Sample rate and hop of the features, size of the codebook.
        weights_sha256: Hex digest of the network, its settings and the codebook.

    Args:
        extractor: Computes the features that the codebook was fitted on.
        codebook: A safetensors file with `centroids` [k, dimensions], and the `mean` and `std`
            [dimensions] of the features, all float32.

    Raises:
        WeightsError: The codebook is missing, broken, or for features of another width.

    Paper: 3.2: k = 1024, 25 codes per second.
    Default: each dimension is normalised before k-means, as AudioLM does.
    """

    def __init__(self, extractor: SslFeatures, *, codebook: str | Path) -> None:
        self._extractor = extractor
        tensors = _read_codebook(Path(codebook), dimensions=extractor.dimensions)
        self._mean, self._std = tensors["mean"].numpy(), tensors["std"].numpy()
        self._centroids = tensors["centroids"]
        self.geometry = SemanticGeometry(
            sample_rate_hz=extractor.sample_rate_hz,
            hop_samples=extractor.hop_samples,
            codebook_size=len(self._centroids),
        )
        self.weights_sha256 = tensors_sha256(
            tensors, settings={"features": extractor.weights_sha256}
        )

    def features(self, audio: FloatArray) -> FloatArray:
        """Returns the features that are quantised, before normalisation, as `SslFeatures` does."""
        return self._extractor.features(audio)

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns the codes of each clip.

        Args:
            audio: float32 [clips, samples] in [-1, 1].

        Returns:
            uint16 [clips, frames].

        Raises:
            ValueError: The audio is not [clips, samples], or there is no clip.
        """
        points = (self.features(audio) - self._mean) / self._std  # [clips, frames, dimensions]
        # One clip at a time, so that the shape of the product does not depend on the batch.
        codes = [assign(torch.from_numpy(clip), self._centroids)[0].numpy() for clip in points]
        return np.stack(codes).astype(np.uint16)


def _read_codebook(path: Path, *, dimensions: int) -> dict[str, torch.Tensor]:
    if path.suffix != ".safetensors":
        raise WeightsError(f"a codebook is a .safetensors file, found {path}")
    loaded: dict[str, torch.Tensor] = load_safely(path)
    wanted = {"centroids": 2, "mean": 1, "std": 1}
    if set(loaded) != set(wanted):
        raise WeightsError(f"{path} must hold {sorted(wanted)}, found {sorted(loaded)}")
    for name, axes in wanted.items():
        tensor = loaded[name]
        shape = list(tensor.shape)
        if tensor.dtype != torch.float32 or len(shape) != axes or shape[-1] != dimensions:
            raise WeightsError(
                f"{name} of {path} must be float32 with {dimensions} dimensions for this layer, "
                f"found {tensor.dtype} {shape}"
            )
        if not bool(tensor.isfinite().all()):
            raise WeightsError(f"{name} of {path} holds a number that is not finite")
    if not bool((loaded["std"] > 0).all()):
        raise WeightsError(f"std of {path} must be positive in each dimension")
    return loaded
