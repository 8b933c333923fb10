"""What the tests of the lite models share: a clip, normal numbers, and a check of threads."""

from collections.abc import Callable

import numpy as np
import torch

from singsong.schemas.arrays import FloatArray
from singsong.schemas.seeds import generator


def keyed_clip(samples: int = 16000) -> np.ndarray:
    """A chord with vibrato, a decaying knock and some noise: the same on every machine."""
    seconds = np.arange(samples) / 16000
    chord = sum(
        np.sin(2 * np.pi * hz * seconds + 2 * np.sin(2 * np.pi * 5 * seconds)) / (n + 1)
        for n, hz in enumerate((220.0, 277.18, 329.63))
    )
    noise = generator(seed=0, purpose="lite golden clip", key="").standard_normal(samples)
    knock = noise * np.exp(-(seconds % 0.5) * 30)
    return (0.15 * chord + 0.1 * knock + 0.002 * noise).astype(np.float32)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Returns standard normal numbers, float32 of a shape."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def check_threads(encode: Callable[[FloatArray], np.ndarray]) -> None:
    """Checks that an encoder returns the same codes with one thread and with two."""
    clip, before = keyed_clip(80000)[None], torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(encode(clip))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*results)
