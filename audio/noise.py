"""Noise that masks the traces of instruments that separation leaves in the vocals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from singsong.audio.resample import resample
from singsong.schemas.seeds import generator

VERSION = 2
"""Version of this step's arithmetic, part of the name of every part: raised when results change."""


NOISE_RATE_HZ = 16000
"""Rate at which the noise is drawn: the paper's codecs run at it."""


def add_noise(
    audio: npt.NDArray[np.float32], *, sample_rate_hz: int, sigma: float, seed: int, clip_id: str
) -> npt.NDArray[np.float32]:
    """Returns the audio plus white Gaussian noise, one realisation per clip.

    The noise is drawn at 16 kHz and resampled for models of other rates, so that all models hear
    the same noise. It has the same power in each hertz at every rate: above 8 kHz there is none,
    and at a lower rate there is only the part that fits.

    Args:
        audio: float32 [samples].
        sample_rate_hz: Samples per second.
        sigma: Standard deviation in units of full scale; 0 returns a copy of the audio.
        seed: The recipe's noise seed.
        clip_id: Identifies the clip; with the seed it determines the noise.

    Raises:
        ValueError: sigma is negative.

    Paper: 3.4 and 4.5: z ~ N(0, 0.01^2), -40 dB.
    Default: one fixed realisation per clip, which does not depend on order or worker.

    >>> x = np.zeros(4, np.float32)
    >>> y = add_noise(x, sample_rate_hz=16000, sigma=0.0, seed=0, clip_id="a")
    >>> bool((x == y).all())
    True
    """
    if sigma < 0:
        raise ValueError(f"sigma must not be negative, found {sigma}")
    if sigma == 0:
        return audio.copy()
    drawn = -(-len(audio) * NOISE_RATE_HZ // sample_rate_hz)  # none too few: the end is cut off
    noise = generator(seed=seed, purpose="noise", key=clip_id).standard_normal(
        drawn, dtype=np.float32
    )
    noise = resample(noise, from_hz=NOISE_RATE_HZ, to_hz=sample_rate_hz)[: len(audio)]
    return audio + np.float32(sigma) * noise
