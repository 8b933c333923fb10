"""EnCodec, through `transformers`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.utils import parametrize
from transformers import EncodecModel

from singsong.models.batching import in_fixed_batches
from singsong.models.checks import check_codes
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.models.weights import load_pretrained, shaping_config, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry

DEFAULT_SOURCE = "facebook/encodec_24khz"

_OF_TRAINING = (".codebook.inited", ".codebook.cluster_size", ".codebook.embed_avg")
"""Endings of the tensors that only training reads."""


class EncodecCodec:
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
        self._device = checked_device(device)
        self._dtype = checked_dtype(dtype)
        self._batch_clips = batch_clips
        source = source or DEFAULT_SOURCE
        model = load_pretrained(EncodecModel, source, optional=_OF_TRAINING)
        config = model.config
        _check_mono(config, source)
        codebooks = _codebooks(model, bandwidth)
        self.geometry = AcousticGeometry(
            sample_rate_hz=int(config.sampling_rate),
            hop_samples=int(config.hop_length),
            codebooks=codebooks,
            coarse_codebooks=-(-codebooks // 3) if coarse_codebooks is None else coarse_codebooks,
            codebook_size=int(config.codebook_size),
        )
        state = model.state_dict().items()
        self.weights_sha256 = tensors_sha256(
            {name: tensor for name, tensor in state if not name.endswith(_OF_TRAINING)},
            settings={"model": "encodec", "config": shaping_config(config), "codebooks": codebooks},
        )
        for network in (model.encoder, model.decoder):
            _fold_weight_norm(network)
            network.to(self._dtype)
        self._model = model.to(self._device)
        self._layers = model.quantizer.layers[:codebooks]

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
        residual = self._model.encoder(batch[:, None].to(self._dtype)).float()
        codes = []
        for layer in self._layers:
            codes.append(layer.encode(residual))  # [clips, frames]
            residual = residual - layer.decode(codes[-1])  # [clips, dim, frames]
        result: CodeArray = torch.stack(codes, -1).to(torch.int32).cpu().numpy().astype("uint16")
        return result

    @torch.inference_mode()
    def _decode(self, clip: CodeArray) -> FloatArray:
        codes = torch.from_numpy(clip.astype(np.int64)).to(self._device)
        latents = self._model.quantizer.decode(codes.permute(2, 0, 1))
        audio: FloatArray = self._model.decoder(latents.to(self._dtype))[:, 0].float().cpu().numpy()
        return audio


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
