"""Measures the lite models (or any other codec and encoder) on clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from singsong.audio.quality import (
    entropy_bits,
    log_spectral_distance_db,
    perplexity,
    snr_db,
)
from singsong.models.protocols import AcousticCodec, SemanticEncoder
from singsong.schemas.arrays import FloatArray
from singsong.schemas.seeds import generator


def measure_acoustic(
    codec: AcousticCodec, clips: Sequence[FloatArray], *, prefixes: Sequence[int] = (1, 2, 4, 8, 12)
) -> dict[str, Any]:
    """Returns how well clips come back from their codes, as JSON values.

    Args:
        codec: What to measure.
        clips: float32 [samples] each, at the codec's rate, not silent.
        prefixes: For how many first codebooks to decode.

    Returns:
        `snr_db` and `lsd_db`, means over clips by number of codebooks; `perplexity` and
        `codes_used` of each codebook over all clips; `clips`.

    Raises:
        ValueError: There is no clip, or a clip is silent.
    """
    if not clips:
        raise ValueError("there must be clips to measure, found none")
    codes = [codec.encode(clip[None]) for clip in clips]
    size = codec.geometry.codebook_size
    figures: dict[str, Any] = {"clips": len(clips), "snr_db": {}, "lsd_db": {}}
    for kept in prefixes:
        decoded = [
            codec.decode(code[:, :, :kept])[0, : len(clip)]
            for code, clip in zip(codes, clips, strict=True)
        ]
        pairs = list(zip(clips, decoded, strict=True))
        figures["snr_db"][str(kept)] = float(np.mean([snr_db(*pair) for pair in pairs]))
        figures["lsd_db"][str(kept)] = float(
            np.mean([log_spectral_distance_db(*pair) for pair in pairs])
        )
    flat = np.concatenate([code[0] for code in codes])
    books = range(flat.shape[1])
    figures["perplexity"] = [perplexity(flat[:, b], codebook_size=size) for b in books]
    figures["codes_used"] = [len(np.unique(flat[:, b])) for b in books]
    return figures


def measure_semantic(encoder: SemanticEncoder, clips: Sequence[FloatArray]) -> dict[str, Any]:
    """Returns how the codes of clips are spread and how steady they are, as JSON values.

    Args:
        encoder: What to measure.
        clips: float32 [samples] each, at the encoder's rate.

    Returns:
        `entropy_bits`, `perplexity` and `codes_used` over all clips; `same_when_noisy` and
        `same_when_half`, the shares of frames that keep their code with noise of sigma 0.01 added
        and at half the amplitude; `repeats`, the share of frames whose code is the one before it;
        `clips`.

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
