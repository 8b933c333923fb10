"""Measures the quality of a codec or encoder on clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from singsong.audio.quality import (
    entropy_bits,
    level_error_db,
    log_spectral_distance_db,
    perplexity,
    snr_db,
)
from singsong.models.protocols import AcousticCodec, SemanticEncoder
from singsong.schemas.arrays import FloatArray
from singsong.schemas.seeds import generator


class AcousticFigures(TypedDict):
    """The quality of a codec.

    Attributes:
        clips: Number of clips.
        snr_db: Mean signal-to-noise ratio over clips, by number of decoded codebooks.
        lsd_db: Mean log-spectral distance over clips, by number of decoded codebooks.
        level_db: Mean size of the error of the level over clips, by number of decoded codebooks.
        perplexity: Perplexity of each codebook over all clips.
        codes_used: Number of different codes of each codebook over all clips.
    """

    clips: int
    snr_db: dict[str, float]
    lsd_db: dict[str, float]
    level_db: dict[str, float]
    perplexity: list[float]
    codes_used: list[int]


class SemanticFigures(TypedDict):
    """The distribution and the stability of semantic codes.

    Attributes:
        clips: Number of clips.
        entropy_bits: Entropy of the codes over all clips.
        perplexity: 2 to that entropy.
        codes_used: Number of different codes over all clips.
        same_when_noisy: Share of frames that keep their code with added noise of sigma 0.01.
        same_when_half: Share of frames that keep their code at half the amplitude.
        repeats: Share of frames that have the same code as the previous frame.
    """

    clips: int
    entropy_bits: float
    perplexity: float
    codes_used: int
    same_when_noisy: float
    same_when_half: float
    repeats: float


def measure_acoustic(
    codec: AcousticCodec, clips: Sequence[FloatArray], *, prefixes: Sequence[int] = (1, 2, 4, 8, 12)
) -> AcousticFigures:
    """Returns how well a codec reconstructs clips from their codes.

    Args:
        codec: The codec.
        clips: float32 [samples] each, at the codec's sample rate, not silent.
        prefixes: Numbers of first codebooks to decode.

    Raises:
        ValueError: There is no clip, or a clip is silent.
    """
    if not clips:
        raise ValueError("there must be clips to measure, found none")
    codes = [codec.encode(clip[None]) for clip in clips]
    snrs: dict[str, float] = {}
    distances: dict[str, float] = {}
    levels: dict[str, float] = {}
    for kept in prefixes:
        decoded = [
            codec.decode(code[:, :, :kept])[0, : len(clip)]
            for code, clip in zip(codes, clips, strict=True)
        ]
        pairs = list(zip(clips, decoded, strict=True))
        snrs[str(kept)] = float(np.mean([snr_db(*pair) for pair in pairs]))
        distances[str(kept)] = float(np.mean([log_spectral_distance_db(*pair) for pair in pairs]))
        levels[str(kept)] = float(np.mean([abs(level_error_db(*pair)) for pair in pairs]))
    books = np.concatenate([code[0] for code in codes]).T
    size = codec.geometry.codebook_size
    return {
        "clips": len(clips),
        "snr_db": snrs,
        "lsd_db": distances,
        "level_db": levels,
        "perplexity": [perplexity(book, codebook_size=size) for book in books],
        "codes_used": [len(np.unique(book)) for book in books],
    }


def measure_semantic(encoder: SemanticEncoder, clips: Sequence[FloatArray]) -> SemanticFigures:
    """Returns how the semantic codes of clips are distributed and how stable they are.

    Args:
        encoder: The encoder.
        clips: float32 [samples] each, at the encoder's sample rate.

    Raises:
        ValueError: There is no clip.
    """
    if not clips:
        raise ValueError("there must be clips to measure, found none")
    size = encoder.geometry.codebook_size
    rng = generator(seed=0, purpose="measure semantic codes", key="")
    plain = [encoder.encode(clip[None])[0] for clip in clips]
    noisy = [
        encoder.encode((clip + 0.01 * rng.standard_normal(clip.shape, np.float32))[None])[0]
        for clip in clips
    ]
    half = [encoder.encode(clip[None] * np.float32(0.5))[0] for clip in clips]
    flat = np.concatenate(plain)
    return {
        "clips": len(clips),
        "entropy_bits": entropy_bits(flat, codebook_size=size),
        "perplexity": perplexity(flat, codebook_size=size),
        "codes_used": len(np.unique(flat)),
        "same_when_noisy": float(np.mean(flat == np.concatenate(noisy))),
        "same_when_half": float(np.mean(flat == np.concatenate(half))),
        "repeats": float(np.mean(np.concatenate([code[1:] == code[:-1] for code in plain]))),
    }
