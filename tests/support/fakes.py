"""Small models behind the real protocols, and music made of tones, for tests of the pipeline."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile

from singsong.models.bundle import Models
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry

RATE = 44100


VOCALS_LEVEL, VOCALS_HZ = 0.5, 1500
"""The fake vocals: the mix at this level, ring-modulated at this frequency."""


class FakeSeparator:
    """Takes the ring-modulated mix for vocals.

    The stems differ in level and in pitch, so that no test passes with the two swapped. No
    separator of a pure tone can do that: recipes with this one have `NO_SEPARATION_LIMITS`.
    """

    sample_rate_hz = RATE
    weights_sha256 = hashlib.sha256(b"fake separator").hexdigest()

    def __init__(self) -> None:
        self.calls = 0

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        self.calls += len(mix)
        carrier = np.cos(2 * np.pi * VOCALS_HZ * np.arange(mix.shape[-1]) / self.sample_rate_hz)
        return mix * (VOCALS_LEVEL * carrier).astype(np.float32)


class FakeCodec:
    """Writes down the mean and the energy of each frame; not the paper's geometry on purpose."""

    geometry = AcousticGeometry(
        sample_rate_hz=8000, hop_samples=400, codebooks=2, coarse_codebooks=1, codebook_size=300
    )
    weights_sha256 = hashlib.sha256(b"fake codec").hexdigest()

    def encode(self, audio: FloatArray) -> CodeArray:
        frames = audio.reshape(len(audio), -1, self.geometry.hop_samples)
        mean = np.clip(frames.mean(-1) * 100 + 150, 0, 299)
        energy = np.clip(np.sqrt((frames**2).mean(-1)) * 299, 0, 299)
        return np.stack([mean, energy], -1).astype(np.uint16)

    def decode(self, codes: CodeArray) -> FloatArray:
        level = codes[..., -1].astype(np.float32) / 299
        return np.repeat(level, self.geometry.hop_samples, axis=1)


class FakeEncoder:
    """Counts sign changes."""

    geometry = SemanticGeometry(sample_rate_hz=16000, hop_samples=1600, codebook_size=1600)
    weights_sha256 = hashlib.sha256(b"fake encoder").hexdigest()

    def encode(self, audio: FloatArray) -> CodeArray:
        frames = np.signbit(audio).reshape(len(audio), -1, self.geometry.hop_samples)
        return (frames[..., 1:] != frames[..., :-1]).sum(-1).astype(np.uint16)


def fake_models(*, separated: bool = True) -> Models:
    return Models(
        acoustic=FakeCodec(),
        semantic=FakeEncoder(),
        separator=FakeSeparator() if separated else None,
    )


def tone(seconds: float, *, hz: float, level: float = 0.3, rate: int = RATE) -> FloatArray:
    times = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def write_tones(folder: Path, *, tracks: int, seconds: float = 2.5) -> list[Path]:
    """Writes tracks of different pitch and length as 16-bit wav files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(tracks):
        path = folder / f"tone-{number:03d}.wav"
        soundfile.write(path, tone(seconds + number * 0.3, hz=220 + 10 * number), RATE)
        paths.append(path)
    return paths
