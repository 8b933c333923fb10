"""The Descript Audio Codec, through `transformers`."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional
from transformers import DacModel
from transformers.models.dac.modeling_dac import Snake1d

from singsong.models.batching import in_fixed_batches
from singsong.models.checks import check_codes
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.models.weights import load_pretrained, shaping_config, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry

DEFAULT_SOURCE = "descript/dac_16khz"


class DacCodec:
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
        self._device = checked_device(device)
        self._dtype = checked_dtype(dtype)
        self._batch_clips = batch_clips
        model = load_pretrained(DacModel, source or DEFAULT_SOURCE, safetensors_only=True)
        config = model.config
        codebooks = int(config.n_codebooks)
        self.geometry = AcousticGeometry(
            sample_rate_hz=int(config.sampling_rate),
            hop_samples=int(config.hop_length),
            codebooks=codebooks,
            coarse_codebooks=-(-codebooks // 3) if coarse_codebooks is None else coarse_codebooks,
            codebook_size=int(config.codebook_size),
        )
        self.weights_sha256 = tensors_sha256(
            model.state_dict(), settings={"model": "dac", "config": shaping_config(config)}
        )
        for network in (model.encoder, model.decoder):
            _use_lean_snake(network)
            network.to(self._dtype)
        self._model = model.to(self._device)

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns the codes of each clip, its last hop padded with silence.

        Args:
            audio: float32 [clips, samples] in [-1, 1].

        Returns:
            uint16 [clips, frames, codebooks].

        Raises:
            ValueError: The audio is not [clips, samples], or there is no clip.
        """
        return in_fixed_batches(self._encode, audio, batch_clips=self._batch_clips)

    def decode(self, codes: CodeArray) -> FloatArray:
        """Returns the audio of codes of all codebooks or the first few.

        Args:
            codes: [clips, frames, k], 1 <= k <= codebooks.

        Returns:
            float32 [clips, frames x hop].

        Raises:
            ValueError: The codes do not have that shape, or a code is not in the codebook.
        """
        geometry = self.geometry
        check_codes(codes, codebooks=geometry.codebooks, codebook_size=geometry.codebook_size)
        # One clip at a time: a song takes much memory, and no code depends on rounding here.
        return np.concatenate([self._decode(clip[None]) for clip in codes])

    @torch.inference_mode()
    def _encode(self, audio: FloatArray) -> CodeArray:
        samples = audio.shape[1]
        padding = self.geometry.frames(samples) * self.geometry.hop_samples - samples
        batch = functional.pad(on_device(audio, self._device), (0, padding))
        latents = self._model.encoder(batch[:, None].to(self._dtype))  # [clips, dim, frames]
        codes = self._model.quantizer(latents.float())[1]  # [clips, codebooks, frames]
        result: CodeArray = codes.transpose(1, 2).to(torch.int32).cpu().numpy().astype("uint16")
        return result

    @torch.inference_mode()
    def _decode(self, clip: CodeArray) -> FloatArray:
        codes = torch.from_numpy(clip.astype(np.int64)).to(self._device)
        latents = self._model.quantizer.from_codes(codes.transpose(1, 2))[0]
        audio = self._model.decoder(latents.to(self._dtype))[:, 0].float()
        # A block with an odd stride yields one sample too few, multiplied by the strides after it.
        missing = codes.shape[1] * self.geometry.hop_samples - audio.shape[1]
        result: FloatArray = functional.pad(audio, (0, missing)).cpu().numpy()
        return result


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
