"""An acoustic codec that needs no download: MDCT, spectral envelope and signed shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from singsong.models.checks import check_codes, check_tensor, encode_each
from singsong.models.kmeans import assign
from singsong.models.lite.bundled import weights_path
from singsong.models.lite.envelope import BANDS, COEFFICIENTS, outlines, scales
from singsong.models.lite.formats import WHITENING, format_of
from singsong.models.lite.mdct import imdct, mdct
from singsong.models.lite.shapes import search, sum_shapes
from singsong.models.weights import load_safely, tensors_sha256
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry
from singsong.schemas.seeds import generator

GEOMETRY = AcousticGeometry(
    sample_rate_hz=16000, hop_samples=320, codebooks=12, coarse_codebooks=4, codebook_size=1024
)

_NOISE_FRAMES = 1024
"""Number of frames after which the noise repeats, too many to be heard as a rhythm."""


class LiteAcousticCodec:
    """Codes each 20 ms frame as an envelope and eleven residual shapes.

    The first codebook holds the level of the frame and of its 22 bands, which alone decode to a
    noisy sketch of the sound; each further one adds a signed shape over the lower coefficients,
    relative to that envelope. A gain and noise restore what the shapes lack of the level. So the
    first k codes of a frame can be decoded for any k. The bundled codebooks have 1024 codes each.

    Attributes:
        geometry: Sample rate, frame rate, number and size of the codebooks.
        weights_sha256: Hex digest of the codebooks and of the settings that affect the codes.

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
        """Creates a codec from the tensors of `fit_acoustic_codebooks`.

        Args:
            tensors: `envelopes` [codes, BANDS + 1], outlines in dB, `shapes` [11, codes / 2,
                dims], `profile` [COEFFICIENTS], and `format`, a whole number; without it, the
                first format, in which decoded audio is quieter than the original.
            beam: Number of partial codes that the search keeps: 2 takes twice as long as 1 and
                gains 0.2 dB of SNR, 4 gains 0.3 dB.
            coarse_codebooks: Number of codebooks that count as coarse, with no effect on the
                codes; None is the paper's four.

        Raises:
            ValueError: A tensor is missing, has another shape or is not finite; the format is
                unknown; the beam is not positive; or there are more coarse codebooks than
                codebooks.
        """
        if beam < 1:
            raise ValueError(f"beam must be at least 1, found {beam}")
        self._beam = beam
        self._format = format_of(tensors)
        self._envelopes = check_tensor(tensors, "envelopes", shape=(None, BANDS + 1))
        size = len(self._envelopes)
        self.geometry = replace(GEOMETRY, codebook_size=size)
        if coarse_codebooks is not None:
            self.geometry = replace(self.geometry, coarse_codebooks=coarse_codebooks)
        self._books = check_tensor(
            tensors, "shapes", shape=(GEOMETRY.codebooks - 1, size // 2, None)
        )
        self._profile = check_tensor(tensors, "profile", shape=(COEFFICIENTS,))
        self._scales = scales(
            self._envelopes, whitening=WHITENING, level_weight=self._format.level_weight
        )
        self._noise = _noise()
        self.weights_sha256 = self._sha256()

    @classmethod
    def load(
        cls, path: str | None = None, *, beam: int = 1, coarse_codebooks: int | None = None
    ) -> LiteAcousticCodec:
        """Returns a codec with the codebooks of a file, or with the bundled ones.

        Args:
            path: A safetensors file, the number of bundled codebooks, or None for the newest.
            beam: As in the constructor.
            coarse_codebooks: As in the constructor.

        Raises:
            WeightsError: The file is missing or broken.
            ValueError: Its tensors are not those of a lite codec, or an option is out of range.
        """
        tensors = load_safely(weights_path("acoustic", path))
        return cls(tensors, beam=beam, coarse_codebooks=coarse_codebooks)

    def encode(self, audio: FloatArray) -> CodeArray:
        """Returns codes uint16 [clips, frames, 12]; the last frame is zero-padded.

        The argument and the errors are those of `encode_each`.
        """
        return encode_each(audio, self._encode_clip)

    def decode(self, codes: CodeArray) -> FloatArray:
        """Returns float32 [clips, frames * 320], aligned in time with the encoded audio.

        Args:
            codes: Integers [clips, frames, k] of the first k codebooks, 1 <= k <= 12.

        Raises:
            ValueError: The codes have another type or shape, or are out of range.
        """
        geometry = self.geometry
        check_codes(codes, codebooks=geometry.codebooks, codebook_size=geometry.codebook_size)
        return np.stack([self._decode_clip(clip) for clip in codes])

    def _sha256(self) -> str:
        return tensors_sha256(
            {"envelopes": self._envelopes, "shapes": self._books, "profile": self._profile},
            settings={
                "codec": "lite",
                "whitening": WHITENING,
                "beam": self._beam,
                **self._format.settings,
            },
        )

    def _encode_clip(self, clip: FloatArray) -> CodeArray:
        frames = torch.from_numpy(mdct(clip, hop=GEOMETRY.hop_samples))
        outline = outlines(frames, level_weight=self._format.level_weight)
        envelope, _ = assign(outline, self._envelopes)
        dims = self._books.shape[2]
        normal = (frames / self._scales[envelope])[:, :dims].contiguous()
        codes = torch.cat([envelope[:, None], search(normal, self._books, beam=self._beam)], dim=1)
        return np.ascontiguousarray(codes.numpy().astype(np.uint16))

    def _decode_clip(self, clip: npt.NDArray[np.integer]) -> FloatArray:
        codes = torch.from_numpy(clip.astype(np.int64))
        envelope = codes[:, 0]
        frames = torch.zeros(len(codes), COEFFICIENTS)
        frames[:, : self._books.shape[2]] = sum_shapes(codes[:, 1:], self._books)
        frames *= self._scales[envelope]
        noise = self._noise[torch.arange(len(codes)) % _NOISE_FRAMES]
        restored = self._format.restore(
            frames, self._envelopes[envelope], profile=self._profile, noise=noise
        )
        return imdct(restored.numpy())


def _noise() -> torch.Tensor:
    """Returns random signs, float32 [_NOISE_FRAMES, COEFFICIENTS], the same on every machine."""
    rng = generator(seed=0, purpose="lite acoustic noise filling", key="")
    signs = rng.integers(0, 2, (_NOISE_FRAMES, COEFFICIENTS), dtype=np.uint8)
    return torch.from_numpy(1 - 2 * signs.astype(np.float32))
