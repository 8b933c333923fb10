"""Accompanies the vocals of one file. No Beam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from singsong.generation.accompanist import Accompanist
from singsong.models.loaded import load_once
from singsong.schemas.json_values import json_digest
from singsong.transforms.accompany_config import AccompanyConfig


def load_accompanist(config: AccompanyConfig) -> Accompanist:
    """Returns the models, the same ones for the same names in one process.

    Raises:
        ValueError: As `Accompanist.load`.
    """
    how = (config.checkpoint, config.fine, config.acoustic, config.semantic, config.device)
    return load_once(
        ("accompanist", *how),
        lambda: Accompanist.load(
            config.checkpoint,
            fine=config.fine,
            acoustic=config.acoustic,
            semantic=config.semantic,
            device=config.device,
        ),
    )


def accompany_digest(config: AccompanyConfig, accompanist: Accompanist) -> str:
    """Returns a hex digest of all that decides what comes out for given vocals."""
    value = {"stem": config.stem, "sampling": asdict(config.sampling)}
    return json_digest({**value, "models": accompanist.weights_sha256})


def accompany_vocals(
    vocals: npt.NDArray[np.float32],
    *,
    sample_rate_hz: int,
    config: AccompanyConfig,
    accompanist: Accompanist,
    on_token: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yields seed and audio [channels, samples] of each accompaniment of some vocals.

    The vocals in the mix are the given ones, sample by sample.

    Args:
        vocals: float32 [channels, samples].
        sample_rate_hz: Their rate, and that of the accompaniments.
        config: How.
        accompanist: The models of the config.
        on_token: Called after each drawn token with the number of tokens in all.

    Paper: 3.3.
    """
    total = accompanist.tokens_to_draw(
        vocals.shape[1], sample_rate_hz=sample_rate_hz, seeds=len(config.seeds)
    )
    instrumentals = accompanist.accompany(
        vocals.mean(axis=0, dtype=np.float32),
        sample_rate_hz=sample_rate_hz,
        seeds=config.seeds,
        sampling=config.sampling,
        on_token=None if on_token is None else lambda: on_token(total),
    )
    for seed, instrumental in zip(config.seeds, instrumentals, strict=True):
        yield seed, instrumental[None] if config.stem else vocals + instrumental
