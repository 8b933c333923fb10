"""Models that a package of its own offers: small enough to read, and they keep every rule."""

import hashlib

import numpy as np
import numpy.typing as npt

from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.geometry import AcousticGeometry, SemanticGeometry

LEVELS = 256


class ToySeparator:
    """Takes what a moving average leaves for vocals."""

    sample_rate_hz = 44100

    def __init__(
        self, source: str | None, *, device: str, dtype: str, batch_clips: int, width: str = "5"
    ) -> None:
        if device != "cpu":
            raise ValueError(f"the toy runs on cpu only, found device {device!r}")
        self._kernel = np.full(int(width), 1 / int(width), np.float32)
        self.weights_sha256 = hashlib.sha256(f"toy separator {width}".encode()).hexdigest()

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        check_audio(mix)
        smooth = [np.convolve(clip, self._kernel, mode="same")[: mix.shape[1]] for clip in mix]
        return (mix - np.stack(smooth)).astype(np.float32)


class ToyCodec:
    """Keeps the mean of each frame, and that of its first half, in 256 steps."""

    weights_sha256 = hashlib.sha256(b"toy codec").hexdigest()
    geometry = AcousticGeometry(
        sample_rate_hz=16000, hop_samples=320, codebooks=2, coarse_codebooks=1, codebook_size=LEVELS
    )

    def __init__(self, source: str | None, *, device: str, dtype: str, batch_clips: int) -> None:
        pass

    def encode(self, audio: FloatArray) -> CodeArray:
        frames = in_frames(audio, self.geometry.hop_samples)
        half = self.geometry.hop_samples // 2
        means = np.stack([frames.mean(-1), frames[..., :half].mean(-1)], axis=-1)
        return steps(means)

    def decode(self, codes: CodeArray) -> FloatArray:
        if codes.ndim != 3 or not 1 <= codes.shape[2] <= self.geometry.codebooks or not codes.size:
            raise ValueError(f"codes must be [clips, frames, 1 or 2], found {codes.shape}")
        if codes.max() >= LEVELS:
            raise ValueError(f"codes must be below {LEVELS}, found {codes.max()}")
        level = codes.astype(np.float32).mean(-1) / np.float32(LEVELS / 2) - 1
        return np.repeat(level, self.geometry.hop_samples, axis=1)


class ToyEncoder:
    """Keeps the root mean square of each frame in 256 steps."""

    weights_sha256 = hashlib.sha256(b"toy encoder").hexdigest()
    geometry = SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=LEVELS)

    def __init__(self, source: str | None, *, device: str, dtype: str, batch_clips: int) -> None:
        pass

    def encode(self, audio: FloatArray) -> CodeArray:
        frames = in_frames(audio, self.geometry.hop_samples)
        return steps(np.sqrt(np.square(frames).mean(-1)))


def in_frames(audio: FloatArray, hop: int) -> FloatArray:
    """Returns float32 [clips, frames, hop], the last frame filled up with silence."""
    check_audio(audio)
    clips, samples = audio.shape
    padded = np.pad(audio, [(0, 0), (0, -samples % hop)])
    return padded.reshape(clips, -1, hop)


def steps(values: FloatArray) -> CodeArray:
    """Returns values in [-1, 1] as one of 256 steps."""
    levels: npt.NDArray[np.float32] = np.clip((values + 1) * (LEVELS / 2), 0, LEVELS - 1)
    return levels.astype(np.uint16)


def check_audio(audio: FloatArray) -> None:
    """Refuses audio without clips."""
    if audio.ndim != 2 or not len(audio):
        raise ValueError(f"audio must be [clips, samples] with a clip in it, found {audio.shape}")
