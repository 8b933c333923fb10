"""Clips whose stems are known, and models that tell what they heard, for tests of the encoder."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from singsong.models.bundle import Models
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry
from singsong.schemas.recipe import EncodeRecipe, ModelSpec

RATE, ACOUSTIC_RATE, SEMANTIC_RATE = 44100, 8000, 16000
SECONDS = 0.2
SAMPLES = round(SECONDS * RATE)
_STEPS = 15000  # codes per unit of amplitude; small enough for uint16 up to amplitude 2
RECIPE = EncodeRecipe(clip_seconds=SECONDS, separator=ModelSpec(name="fake"))


@dataclasses.dataclass(frozen=True)
class Stems:
    """Both stems of a clip, float32 [samples]."""

    vocals: FloatArray
    instrumental: FloatArray

    @property
    def mix(self) -> FloatArray:
        return self.vocals + self.instrumental


def sine(hz: float, level: float, *, samples: int = SAMPLES) -> FloatArray:
    return (level * np.sin(2 * np.pi * hz * np.arange(samples) / RATE)).astype(np.float32)


def song(clips: int) -> list[Stems]:
    """Returns clips that differ from each other in pitch and level, as do their two stems."""
    return [
        Stems(
            vocals=sine(500 + 130 * number, 0.1 + 0.05 * number),
            instrumental=sine(90 + 40 * number, 0.4 - 0.03 * number),
        )
        for number in range(clips)
    ]


class KnownSeparator:
    """Finds the vocals of a clip by its mix, so that its place in a batch does not matter.

    Attributes:
        batches: How many clips each call had.
    """

    sample_rate_hz = RATE
    weights_sha256 = hashlib.sha256(b"known stems").hexdigest()

    def __init__(self, clips: Sequence[Stems]) -> None:
        self._vocals: Mapping[bytes, FloatArray] = {
            clip.mix.tobytes(): clip.vocals for clip in clips
        }
        self.batches: list[int] = []

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        self.batches.append(len(mix))
        return np.stack([self._vocals[one.tobytes()] for one in mix])


class TellingCodec:
    """Keeps the audio it heard; its codes are the level of each frame and its first sample."""

    geometry = AcousticGeometry(
        sample_rate_hz=ACOUSTIC_RATE,
        hop_samples=400,
        codebooks=2,
        coarse_codebooks=1,
        codebook_size=65536,
    )
    weights_sha256 = hashlib.sha256(b"telling codec").hexdigest()

    def __init__(self) -> None:
        self.heard: list[FloatArray] = []

    def encode(self, audio: FloatArray) -> CodeArray:
        self.heard += list(audio)
        frames = audio.reshape(len(audio), -1, self.geometry.hop_samples)
        level = np.sqrt((frames.astype(np.float64) ** 2).mean(-1)) * _STEPS
        first = frames[..., 0] * _STEPS + 32768
        return np.stack([level, first], -1).clip(0, 65535).astype(np.uint16)

    def decode(self, codes: CodeArray) -> FloatArray:
        raise NotImplementedError


class TellingEncoder:
    """Keeps the audio it heard; its code is the level of each frame."""

    geometry = SemanticGeometry(sample_rate_hz=SEMANTIC_RATE, hop_samples=1600, codebook_size=65536)
    weights_sha256 = hashlib.sha256(b"telling encoder").hexdigest()

    def __init__(self) -> None:
        self.heard: list[FloatArray] = []

    def encode(self, audio: FloatArray) -> CodeArray:
        self.heard += list(audio)
        frames = audio.reshape(len(audio), -1, self.geometry.hop_samples)
        return (np.sqrt((frames.astype(np.float64) ** 2).mean(-1)) * _STEPS).astype(np.uint16)


def telling_models(clips: Sequence[Stems], *, separated: bool = True) -> Models:
    return Models(
        acoustic=TellingCodec(),
        semantic=TellingEncoder(),
        separator=KnownSeparator(clips) if separated else None,
    )
