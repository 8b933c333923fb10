"""A codec and an encoder that remember what they were given, and vocals to give them."""

from typing import Any

import numpy as np

from singsong.generation.vocal_windows import VocalWindows
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe
from singsong.schemas.records import Geometry
from singsong.training.featurization import Featurization
from singsong.training.provenance import Provenance

SIGMA, NOISE_SEED = 0.05, 7
RATE = 1600
"""Of the codec. Windows of a second are 1600 samples, half a second apart."""


class RecordingModel:
    """Remembers the audio that it encodes and the codes that it decodes, always to one tone."""

    weights_sha256 = ""

    def __init__(self, geometry: Any, books: tuple[int, ...]) -> None:
        self.geometry, self.books = geometry, books
        self.heard: np.ndarray | None = None
        self.read: np.ndarray | None = None

    def encode(self, audio: np.ndarray) -> np.ndarray:
        self.heard = audio
        frames = audio.shape[1] // self.geometry.hop_samples
        count = len(audio) * frames * int(np.prod(self.books))
        codes = np.arange(count) % self.geometry.codebook_size
        return codes.reshape(len(audio), frames, *self.books).astype(np.uint16)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        self.read = codes
        seconds = codes.shape[1] * self.geometry.hop_samples / self.geometry.sample_rate_hz
        return np.tile(voice(seconds, self.geometry.sample_rate_hz), (len(codes), 1))


def windows_of(
    *, noisy: bool = True, featurization: str = "SA-SA", semantic_rate_hz: int = RATE
) -> VocalWindows:
    acoustic = AcousticGeometry(
        sample_rate_hz=RATE, hop_samples=400, codebooks=3, coarse_codebooks=2, codebook_size=9
    )
    semantic = SemanticGeometry(
        sample_rate_hz=semantic_rate_hz, hop_samples=semantic_rate_hz // 2, codebook_size=7
    )
    encode = EncodeRecipe(clip_seconds=1.0, noise_sigma=SIGMA, noise_seed=NOISE_SEED)
    provenance = Provenance(
        recipe=DatasetRecipe(encode=encode),
        weights={},
        geometry=Geometry(acoustic=acoustic, semantic=semantic),
        dataset_digest="d",
        view=Featurization(name=featurization, noisy=noisy),
    )
    return VocalWindows(
        provenance=provenance,
        acoustic=RecordingModel(acoustic, (3,)),
        semantic=RecordingModel(semantic, ()),
    )


def voice(seconds: float, rate_hz: int = RATE, hz: float = 100.0) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * hz * time) * (1 + time)).astype(np.float32)
