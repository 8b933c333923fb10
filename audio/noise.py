"""Noise that masks the traces of instruments that separation leaves in the vocals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.schemas.seeds import generator

VERSION = 1
"""Version of this step's arithmetic, part of the name of every part: raised when results change."""


def add_noise(
    audio: npt.NDArray[np.float32], *, sigma: float, seed: int, clip_id: str
) -> npt.NDArray[np.float32]:
    """Returns the audio plus white Gaussian noise, one realisation per clip.

    Args:
        audio: float32 [samples].
        sigma: Standard deviation in units of full scale; 0 returns a copy of the audio.
        seed: The recipe's noise seed.
        clip_id: Identifies the clip; with the seed it determines the noise.

    Raises:
        ValueError: sigma is negative.

    Paper: 3.4 and 4.5: z ~ N(0, 0.01^2), -40 dB.
    Default: one fixed realisation per clip, which does not depend on order or worker.

    >>> x = np.zeros(4, np.float32)
    >>> bool((add_noise(x, sigma=0.0, seed=0, clip_id="a") == x).all())
    True
    """
    if sigma < 0:
        raise ValueError(f"sigma must not be negative, found {sigma}")
    if sigma == 0:
        return audio.copy()
    noise = generator(seed=seed, purpose="noise", key=clip_id).standard_normal(
        audio.shape, dtype=np.float32
    )
    return audio + np.float32(sigma) * noise
