"""The acoustic codec that needs no download: MDCT, a spectral envelope, and signed shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from singsong.models.kmeans import assign
from singsong.models.lite.checks import check_audio, check_codes, check_tensor
from singsong.models.lite.envelope import (
    BANDS,
    COEFFICIENTS,
    fill_amplitudes,
    outlines,
    scales,
)
from singsong.models.lite.mdct import imdct, mdct
from singsong.models.lite.shapes import add_up, search
from singsong.models.weights import load_safely, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry
from singsong.schemas.seeds import generator

GEOMETRY = AcousticGeometry(
    sample_rate_hz=16000, hop_samples=320, codebooks=12, coarse_codebooks=4, codebook_size=1024
)
WEIGHTS = Path(__file__).with_name("acoustic.safetensors")
WHITENING = 0.15
"""To which power the envelope is taken out of a frame before its shape is coded."""
FILL_SHARE = 0.6
FILL_CEILING = 0.06
"""How much noise fills quiet bands, see `fill_amplitudes`: 0.2 dB of SNR for 10 dB of log-spectral
distance."""

_NOISE_FRAMES = 1024
"""After how many frames the noise repeats, which is too long to be heard as a rhythm."""


class LiteAcousticCodec:
    """Codes 20 ms frames as an envelope and eleven residual shapes: 12 codes, of 10 bits in ours.

    The first codebook holds the levels of 22 bands, which is a noisy sketch of the sound by itself;
    each further one adds a signed shape over the lower coefficients, in units of that envelope.
    What is still missing from the quiet bands is filled up with noise. So any first k of the codes
    can be decoded.

    Attributes:
        geometry: Sample rate, frame rate, number and size of the codebooks.
        weights_sha256: Hex digest of the codebooks and of the settings that shape the result.

    Paper: 3.2, in place of SoundStream.
    Differs: the transform is fixed and the codebooks come from k-means; no network is trained.
    """

    geometry: AcousticGeometry
    weights_sha256: str

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        *,
        beam: int = 1,
        coarse_codebooks: int | None = None,
    ) -> None:
        """Takes the codebooks that `fit_acoustic_codebooks` gives.

        Args:
            tensors: `envelopes` [codes, BANDS + 1], outlines in dB, `shapes` [11, codes / 2,
                dims], `profile` [COEFFICIENTS].
            beam: How many partial codes the search keeps: 2 takes twice the time of 1 and gains
                0.2 dB, 4 gains 0.3 dB.
            coarse_codebooks: How many codebooks are called coarse, of the same codes; None takes
                the paper's four.

        Raises:
            ValueError: A tensor is missing, of another shape, or not finite; the beam is not
                positive; or there are fewer codebooks than coarse ones.
        """
        if beam < 1:
            raise ValueError(f"beam must be at least 1, found {beam}")
        self._beam = beam
        self._envelopes = check_tensor(tensors, "envelopes", shape=(None, BANDS + 1))
        size = len(self._envelopes)
        self.geometry = replace(GEOMETRY, codebook_size=size)
        if coarse_codebooks is not None:
            self.geometry = replace(self.geometry, coarse_codebooks=coarse_codebooks)
        self._books = check_tensor(
            tensors, "shapes", shape=(GEOMETRY.codebooks - 1, size // 2, None)
        )
        self._profile = check_tensor(tensors, "profile", shape=(COEFFICIENTS,))
        self._scales = scales(self._envelopes, whitening=WHITENING)
        self._noise = _noise()
        self.weights_sha256 = tensors_sha256(
            {"envelopes": self._envelopes, "shapes": self._books, "profile": self._profile},
            settings={
                "codec": "lite",
                "whitening": WHITENING,
                "fill_share": FILL_SHARE,
                "fill_ceiling": FILL_CEILING,
                "beam": beam,
            },
        )

    @classmethod
    def load(cls, path: str | None = None, **options: Any) -> LiteAcousticCodec:
        """Returns the codec of a file of codebooks, or of the one that comes with this package.

        Args:
            path: A safetensors file, or None for ours.
            options: As in the constructor.

        Raises:
            WeightsError: The file is missing or broken.
            ValueError: It holds other tensors than a lite codec's, or an option is out of range.
        """
        return cls(load_safely(WEIGHTS if path is None else path), **options)

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes [clips, frames, 12] of audio [clips, samples] in [-1, 1].

        Args:
            audio: float32 [clips, samples], a clip and a sample or more; the last frame is filled
                up with zeros.

        Raises:
            ValueError: The audio is of another type or shape, or is not finite.
        """
        check_audio(audio)
        # Clip by clip, so that no clip's codes depend on its company.
        return np.stack([self._encode_clip(clip) for clip in audio])

    def decode(self, codes: CodeArray) -> FloatArray:
        """Returns audio [clips, frames * 320] of codes [clips, frames, k], in time with the input.

        Args:
            codes: Integers [clips, frames, k] of the first k codebooks, 1 <= k <= 12.

        Raises:
            ValueError: The codes are of another type or shape, or out of range.
        """
        own = self.geometry
        check_codes(codes, codebooks=own.codebooks, codebook_size=own.codebook_size)
        return np.stack([self._decode_clip(clip) for clip in codes])

    def _encode_clip(self, clip: FloatArray) -> CodeArray:
        frames = torch.from_numpy(mdct(clip, hop=GEOMETRY.hop_samples))
        envelope, _ = assign(outlines(frames), self._envelopes)
        dims = self._books.shape[2]
        normal = (frames / self._scales[envelope])[:, :dims].contiguous()
        codes = torch.cat([envelope[:, None], search(normal, self._books, beam=self._beam)], dim=1)
        return np.ascontiguousarray(codes.numpy().astype(np.uint16))

    def _decode_clip(self, clip: npt.NDArray[np.integer]) -> FloatArray:
        codes = torch.from_numpy(clip.astype(np.int64))
        envelope = codes[:, 0]
        frames = torch.zeros(len(codes), COEFFICIENTS)
        frames[:, : self._books.shape[2]] = add_up(codes[:, 1:], self._books)
        frames *= self._scales[envelope]
        amplitudes = fill_amplitudes(
            frames,
            self._envelopes[envelope],
            profile=self._profile,
            share=FILL_SHARE,
            ceiling=FILL_CEILING,
        )
        noise = self._noise[torch.arange(len(codes)) % _NOISE_FRAMES]
        return imdct((frames + amplitudes * noise).numpy())


def _noise() -> torch.Tensor:
    """Returns the same random signs on every machine: float32 [_NOISE_FRAMES, COEFFICIENTS]."""
    rng = generator(seed=0, purpose="lite acoustic noise filling", key="")
    signs = rng.integers(0, 2, (_NOISE_FRAMES, COEFFICIENTS), dtype=np.uint8)
    return torch.from_numpy(1 - 2 * signs.astype(np.float32))
