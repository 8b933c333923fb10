"""The shape of codes: rates and codebooks, as a codec or an encoder states them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

MAX_CODEBOOK_SIZE = 65536


@dataclass(frozen=True, kw_only=True)
class SemanticGeometry:
    """What a semantic encoder gives.

    Attributes:
        sample_rate_hz: Rate of the audio it takes.
        hop_samples: Audio samples per code.
        codebook_size: Number of different codes; they are 0 .. codebook_size - 1.

    Raises:
        ValueError: A field is not positive, or the codes do not fit in uint16.
    """

    sample_rate_hz: int
    hop_samples: int
    codebook_size: int

    def __post_init__(self) -> None:
        _check_positive(self)
        _check_codebook_size(self.codebook_size)

    @property
    def frame_rate_hz(self) -> float:
        """Codes per second."""
        return self.sample_rate_hz / self.hop_samples

    def frames(self, samples: int) -> int:
        """Returns the number of frames of a clip of `samples` samples, the last one padded.

        >>> geometry = SemanticGeometry(sample_rate_hz=16000, hop_samples=640, codebook_size=1024)
        >>> geometry.frames(160000)
        250
        """
        return -(-samples // self.hop_samples)


@dataclass(frozen=True, kw_only=True)
class AcousticGeometry:
    """What an acoustic codec gives.

    Attributes:
        sample_rate_hz: Rate of the audio it takes and gives.
        hop_samples: Audio samples per frame.
        codebooks: Number of residual codebooks.
        coarse_codebooks: How many of them, from the first, are called coarse.
        codebook_size: Number of different codes in each; they are 0 .. codebook_size - 1.

    Raises:
        ValueError: A field is not positive, more coarse codebooks than codebooks, or the codes do
            not fit in uint16.

    Paper: 3.2: 16 kHz, 50 frames per second, 12 codebooks of 1024 codes, 4 of them coarse.
    """

    sample_rate_hz: int
    hop_samples: int
    codebooks: int
    coarse_codebooks: int
    codebook_size: int

    def __post_init__(self) -> None:
        _check_positive(self)
        _check_codebook_size(self.codebook_size)
        if self.coarse_codebooks > self.codebooks:
            raise ValueError(
                f"coarse_codebooks must be at most codebooks={self.codebooks}, "
                f"found {self.coarse_codebooks}"
            )

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate_hz / self.hop_samples

    def frames(self, samples: int) -> int:
        """Returns the number of frames of a clip of `samples` samples, the last one padded."""
        return -(-samples // self.hop_samples)


def clip_samples(seconds: float, sample_rate_hz: int) -> int:
    """Returns the whole number of samples in a clip.

    Args:
        seconds: Length of the clip.
        sample_rate_hz: Samples per second.

    Raises:
        ValueError: The clip is not a whole number of samples at that rate.

    >>> clip_samples(10.0, 44100)
    441000
    """
    samples = Fraction(str(seconds)) * sample_rate_hz
    if samples.denominator != 1 or samples <= 0:
        raise ValueError(
            f"a clip must be a positive whole number of samples, "
            f"found {seconds} s x {sample_rate_hz} Hz = {float(samples)}: choose other seconds"
        )
    return int(samples)


def _check_positive(geometry: SemanticGeometry | AcousticGeometry) -> None:
    for name, value in vars(geometry).items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, found {value}")


def _check_codebook_size(size: int) -> None:
    if size > MAX_CODEBOOK_SIZE:
        raise ValueError(f"codebook_size must be at most {MAX_CODEBOOK_SIZE}, found {size}")
