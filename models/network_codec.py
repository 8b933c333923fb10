"""What codecs made of an encoder, a residual quantiser and a decoder have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from singsong.models.batching import in_fixed_batches
from singsong.models.checks import check_codes
from singsong.models.devices import checked_device, checked_dtype, on_device
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry


class NetworkCodec(ABC):
    """A codec whose encoder and decoder are networks of `transformers` (`AcousticCodec`).

    Attributes:
        geometry: Sample rate, frame rate, number and size of the codebooks.
        weights_sha256: Hex digest of the weights and of the settings that shape the result.

    Args:
        model: With `encoder` and `decoder`; a subclass reads its `quantizer`.
        geometry: See above.
        weights_sha256: See above.
        device: Where it runs.
        dtype: What encoder and decoder compute in; the quantiser is always float32.
        batch_clips: The fixed batch size of encoding.

    Raises:
        ValueError: A setting is not allowed, or the machine lacks the device.
    """

    def __init__(
        self,
        model: Any,
        *,
        geometry: AcousticGeometry,
        weights_sha256: str,
        device: str,
        dtype: str,
        batch_clips: int,
    ) -> None:
        self.geometry, self.weights_sha256 = geometry, weights_sha256
        self._device = checked_device(device)
        self._dtype = checked_dtype(dtype)
        self._batch_clips = batch_clips
        for network in (model.encoder, model.decoder):
            network.to(self._dtype)
        self._model = model.to(self._device)

    @abstractmethod
    def _quantised(self, latents: torch.Tensor) -> torch.Tensor:
        """Returns the codes [clips, frames, codebooks] of float32 latents [clips, dim, frames]."""

    @abstractmethod
    def _latents(self, codes: torch.Tensor) -> torch.Tensor:
        """Returns the latents [clips, dim, frames] of int64 codes [clips, frames, k]."""

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
        latents = self._model.encoder(batch[:, None].to(self._dtype)).float()
        codes = self._quantised(latents)
        result: CodeArray = codes.to(torch.int32).cpu().numpy().astype("uint16")
        return result

    @torch.inference_mode()
    def _decode(self, clip: CodeArray) -> FloatArray:
        codes = torch.from_numpy(clip.astype(np.int64)).to(self._device)
        audio = self._model.decoder(self._latents(codes).to(self._dtype))[:, 0].float()
        # A block of DAC with an odd stride yields a sample too few, times the strides after it.
        missing = codes.shape[1] * self.geometry.hop_samples - audio.shape[1]
        result: FloatArray = functional.pad(audio, (0, missing)).cpu().numpy()
        return result


def coarse_of(codebooks: int, wanted: int | None) -> int:
    """Returns how many codebooks count as coarse: a third, rounded up, if nobody says.

    >>> coarse_of(12, None), coarse_of(4, None), coarse_of(12, 3)
    (4, 2, 3)
    """
    return -(-codebooks // 3) if wanted is None else wanted
