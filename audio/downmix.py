"""The mono and the stereo mix of a recording with any number of channels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# Bits of a channel mask, as in WAVEFORMATEXTENSIBLE and ffmpeg. Channels are in the order of bits.
FRONT_LEFT, FRONT_RIGHT, FRONT_CENTRE, LOW_FREQUENCY = 1 << 0, 1 << 1, 1 << 2, 1 << 3
BACK_CENTRE, TOP_CENTRE, LOW_FREQUENCY_2 = 1 << 8, 1 << 11, 1 << 35
_MINUS_3_DB = math.sqrt(0.5)
_WEIGHTS = {
    FRONT_LEFT: 0.5,
    FRONT_RIGHT: 0.5,
    FRONT_CENTRE: _MINUS_3_DB,
    BACK_CENTRE: 0.5,
    TOP_CENTRE: 0.5,
    LOW_FREQUENCY: 0.0,
    LOW_FREQUENCY_2: 0.0,
}
_OTHER_SIDE = _MINUS_3_DB / 2
_LEFT = sum(1 << shift for shift in (0, 4, 6, 9, 12, 15, 29, 31, 33, 36, 39))
_RIGHT = sum(1 << shift for shift in (1, 5, 7, 10, 14, 17, 30, 32, 34, 37, 40))


def mono_weights(channels: int, channel_mask: int) -> tuple[float, ...]:
    """Returns the weight of each channel in the mono mix.

    Mono and stereo: the mean. More channels: the mean of the two channels that ITU-R BS.775 makes
    of them, with the centre and the surrounds at -3 dB, a single surround at -6 dB, and without the
    LFE. The weights are not scaled down, so music in the front pair keeps the level it has in
    stereo. Channels without a known position: the mean of all.

    Args:
        channels: How many there are.
        channel_mask: A bit for each channel, in their order; 0 if their positions are unknown.

    Default: the paper does not say how multichannel recordings are mixed.

    >>> mono_weights(2, 0)
    (0.5, 0.5)
    >>> [round(weight, 4) for weight in mono_weights(6, 0x3F)]
    [0.5, 0.5, 0.7071, 0.0, 0.3536, 0.3536]
    >>> mono_weights(5, 0)
    (0.2, 0.2, 0.2, 0.2, 0.2)
    """
    bits = _positions(channels, channel_mask)
    if bits is None:
        return (1 / channels,) * channels
    return tuple(_WEIGHTS.get(bit, _OTHER_SIDE) for bit in bits)


def stereo_weights(channels: int, channel_mask: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the weight of each channel in the left and in the right of the stereo mix.

    The mean of both sides is the mono mix: a channel in the middle has its weight there on both
    sides, one at a side twice its weight on that side. Two channels are left and right; mono, and
    more channels without a known position, give two equal sides.

    Args:
        channels: As in `mono_weights`.
        channel_mask: As in `mono_weights`.

    >>> stereo_weights(2, 0)
    ((1.0, 0.0), (0.0, 1.0))
    >>> [round(weight, 4) for weight in stereo_weights(6, 0x3F)[0]]
    [1.0, 0.0, 0.7071, 0.0, 0.7071, 0.0]
    """
    if channels == 2:
        return (1.0, 0.0), (0.0, 1.0)
    mono = mono_weights(channels, channel_mask)
    bits = _positions(channels, channel_mask)
    if bits is None:
        return mono, mono
    weighted = tuple(zip(bits, mono, strict=True))
    left = tuple(_on_side(bit, weight, _LEFT, _RIGHT) for bit, weight in weighted)
    return left, tuple(_on_side(bit, weight, _RIGHT, _LEFT) for bit, weight in weighted)


def _on_side(bit: int, weight: float, side: int, other: int) -> float:
    return 2 * weight if bit & side else 0.0 if bit & other else weight


def _positions(channels: int, channel_mask: int) -> list[int] | None:
    """Returns the bit of each channel; None if there are two or fewer, or they are unknown."""
    bits = [1 << shift for shift in range(64) if channel_mask >> shift & 1]
    return None if channels <= 2 or len(bits) != channels else bits


def mix_to_mono(
    frames: npt.NDArray[np.float32], weights: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """Returns the weighted sum of the channels, computed in float64 in their order.

    Args:
        frames: float32 [frames, channels].
        weights: One for each channel; a channel with weight 0 is left out.

    Returns:
        float32 [frames], a new array. NaN and infinity propagate; opposite infinities give NaN.

    >>> mix_to_mono(np.array([[0.5, 0.25], [1.0, -1.0]], np.float32), (0.5, 0.5)).tolist()
    [0.375, 0.0]
    """
    if sorted(weights) == [0.0] * (len(weights) - 1) + [1.0]:
        return frames[:, weights.index(1.0)].copy()
    with np.errstate(invalid="ignore", over="ignore"):
        if len(set(weights)) == 1:  # one division at the end rounds less
            total = frames[:, 0].astype(np.float64)
            for channel in range(1, frames.shape[1]):
                total += frames[:, channel]
            return (total / frames.shape[1]).astype(np.float32)
        total = np.zeros(len(frames), np.float64)
        for channel, weight in enumerate(weights):
            if weight:
                total += weight * frames[:, channel].astype(np.float64)
        return total.astype(np.float32)
