"""EnCodec, through `transformers`."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils import parametrize
from transformers import EncodecModel

from singsong.models.network_codec import NetworkCodec, coarse_of
from singsong.models.weights import load_pretrained, shaping_config, tensors_sha256
from singsong.schemas.geometry import AcousticGeometry

DEFAULT_SOURCE = "facebook/encodec_24khz"

_OF_TRAINING = (".codebook.inited", ".codebook.cluster_size", ".codebook.embed_avg")
"""Endings of the tensors that only training reads."""


class EncodecCodec(NetworkCodec):
    """Encodes audio with EnCodec (`AcousticCodec`).

    Attributes:
        geometry: Taken from the model's configuration and the bandwidth.
        weights_sha256: Hex digest of the weights and of the number of codebooks.

    Args:
        source: Hub id or local folder; None uses `DEFAULT_SOURCE`.
        bandwidth: Which of the model's bandwidths, in kbps; it sets the number of codebooks, and a
            smaller one gives the first codebooks of a larger one. None means the largest.
        coarse_codebooks: How many codebooks count as coarse; None means a third of them, rounded
            up.
        device: Where it runs.
        dtype: What encoder and decoder compute in; the quantiser is always float32.
        batch_clips: The fixed batch size of encoding.

    Raises:
        ValueError: A setting is not allowed, the model is not for mono audio in one piece, or the
            machine lacks the device.
        WeightsError: The weights are missing, broken or unsafe.

    Paper: 3.2, with a different codec and geometry.
    """

    def __init__(
        self,
        source: str | None = None,
        *,
        bandwidth: float | None = None,
        coarse_codebooks: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch_clips: int = 1,
    ) -> None:
        source = source or DEFAULT_SOURCE
        model = load_pretrained(EncodecModel, source, optional=_OF_TRAINING)
        config = model.config
        _check_mono(config, source)
        codebooks = _codebooks(model, bandwidth)
        geometry = AcousticGeometry(
            sample_rate_hz=int(config.sampling_rate),
            hop_samples=int(config.hop_length),
            codebooks=codebooks,
            coarse_codebooks=coarse_of(codebooks, coarse_codebooks),
            codebook_size=int(config.codebook_size),
        )
        state = model.state_dict().items()
        weights_sha256 = tensors_sha256(
            {name: tensor for name, tensor in state if not name.endswith(_OF_TRAINING)},
            settings={"model": "encodec", "config": shaping_config(config), "codebooks": codebooks},
        )
        for network in (model.encoder, model.decoder):
            _fold_weight_norm(network)
        super().__init__(
            model,
            geometry=geometry,
            weights_sha256=weights_sha256,
            device=device,
            dtype=dtype,
            batch_clips=batch_clips,
        )
        self._layers = model.quantizer.layers[:codebooks]

    def _quantised(self, latents: torch.Tensor) -> torch.Tensor:
        codes = []
        for layer in self._layers:
            codes.append(layer.encode(latents))  # [clips, frames]
            latents = latents - layer.decode(codes[-1])  # [clips, dim, frames]
        return torch.stack(codes, -1)

    def _latents(self, codes: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = self._model.quantizer.decode(codes.permute(2, 0, 1))
        return latents


def _check_mono(config: Any, source: str) -> None:
    if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
        raise ValueError(
            f"{source} is for audio of {config.audio_channels} channels, normalised and in chunks: "
            "a record has codes of mono audio in one piece; "
            "choose facebook/encodec_24khz or facebook/encodec_32khz"
        )


def _codebooks(model: EncodecModel, bandwidth: float | None) -> int:
    """Returns how many codebooks a bandwidth takes."""
    known = [float(each) for each in model.config.target_bandwidths]
    if bandwidth is None:
        bandwidth = max(known)
    if bandwidth not in known:
        raise ValueError(f"bandwidth must be one of {known} kbps, found {bandwidth}")
    return int(model.quantizer.get_num_quantizers_for_bandwidth(bandwidth))


def _fold_weight_norm(network: torch.nn.Module) -> None:
    """Computes each normalised weight now, instead of in each call."""
    for module in network.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
