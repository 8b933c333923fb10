"""The Descript Audio Codec, through `transformers`."""

from __future__ import annotations

import torch
from transformers import DacModel
from transformers.models.dac.modeling_dac import Snake1d

from singsong.models.network_codec import NetworkCodec, coarse_of
from singsong.models.weights import load_pretrained, shaping_config, tensors_sha256
from singsong.schemas.geometry import AcousticGeometry

DEFAULT_SOURCE = "descript/dac_16khz"


class DacCodec(NetworkCodec):
    """Encodes audio with DAC (`AcousticCodec`).

    Attributes:
        geometry: Taken from the model's configuration.
        weights_sha256: Hex digest of the weights.

    Args:
        source: Hub id or local folder; None uses `DEFAULT_SOURCE`.
        coarse_codebooks: How many codebooks count as coarse; None means a third of them, rounded
            up.
        device: Where it runs.
        dtype: What encoder and decoder compute in; the quantiser is always float32.
        batch_clips: The fixed batch size of encoding.

    Raises:
        ValueError: A setting is not allowed, or the machine lacks the device.
        WeightsError: The weights are missing, broken or not in safetensors.

    Paper: 3.2, with a different codec of the same geometry.
    """

    def __init__(
        self,
        source: str | None = None,
        *,
        coarse_codebooks: int | None = None,
        device: str = "cpu",
        dtype: str = "float32",
        batch_clips: int = 1,
    ) -> None:
        model = load_pretrained(DacModel, source or DEFAULT_SOURCE, safetensors_only=True)
        config = model.config
        codebooks = int(config.n_codebooks)
        geometry = AcousticGeometry(
            sample_rate_hz=int(config.sampling_rate),
            hop_samples=int(config.hop_length),
            codebooks=codebooks,
            coarse_codebooks=coarse_of(codebooks, coarse_codebooks),
            codebook_size=int(config.codebook_size),
        )
        weights_sha256 = tensors_sha256(
            model.state_dict(), settings={"model": "dac", "config": shaping_config(config)}
        )
        for network in (model.encoder, model.decoder):
            _use_lean_snake(network)
        super().__init__(
            model,
            geometry=geometry,
            weights_sha256=weights_sha256,
            device=device,
            dtype=dtype,
            batch_clips=batch_clips,
        )

    def _quantised(self, latents: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = self._model.quantizer(latents)[1]  # [clips, codebooks, frames]
        return codes.transpose(1, 2)

    def _latents(self, codes: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = self._model.quantizer.from_codes(codes.transpose(1, 2))[0]
        return latents


class _LeanSnake(torch.nn.Module):
    """Computes x + sin(alpha x)^2 / alpha in fewer passes over memory than the original."""

    def __init__(self, snake: Snake1d) -> None:
        super().__init__()
        self.alpha = snake.alpha
        self.reciprocal = torch.nn.Parameter((snake.alpha + 1e-9).reciprocal())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(x, self.reciprocal, (self.alpha * x).sin_().square_())


def _use_lean_snake(module: torch.nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Snake1d):
            setattr(module, name, _LeanSnake(child))
        else:
            _use_lean_snake(child)
