"""Draws spectrograms with one fixed scale, so that they can be compared."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image

LOWEST_HZ = 50.0
HIGHEST_HZ = 8000.0
QUIETEST_DB = -90.0
LOUDEST_DB = -10.0

_WIDTH, _HEIGHT = 960, 192
_WINDOW_S = 0.046
# Dark to light in even steps of lightness, so that it also works in greyscale.
_COLOURS = np.array(
    [(6, 6, 20), (40, 17, 89), (101, 26, 128), (165, 44, 119), (222, 73, 88), (250, 139, 80),
     (253, 204, 132), (252, 253, 220)],
    np.float64,
)  # fmt: skip


def spectrogram_png(audio: npt.NDArray[np.float32], *, sample_rate_hz: int) -> bytes:
    """Returns a spectrogram as PNG, with time to the right and logarithmic frequency upwards.

    Args:
        audio: float32 [samples], samples >= 1.
        sample_rate_hz: Samples per second.

    Returns:
        An image of fixed size. Its rows cover `LOWEST_HZ` to `HIGHEST_HZ`, its columns the whole
        sound, its colours `QUIETEST_DB` to `LOUDEST_DB` relative to a full-scale sine.
    """
    decibels = band_levels_db(audio, sample_rate_hz=sample_rate_hz)
    level = np.clip((decibels - QUIETEST_DB) / (LOUDEST_DB - QUIETEST_DB), 0, 1)
    image = Image.fromarray(np.round(255 * level[::-1]).astype(np.uint8), mode="P")
    image.putpalette(palette().tobytes())
    out = BytesIO()
    image.save(out, format="PNG")
    return out.getvalue()


def palette() -> npt.NDArray[np.uint8]:
    """Returns the colours from quiet to loud, uint8 [256, 3]."""
    anchors, steps = np.linspace(0, 1, len(_COLOURS)), np.linspace(0, 1, 256)
    channels = [np.interp(steps, anchors, colour) for colour in _COLOURS.T]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def band_levels_db(
    audio: npt.NDArray[np.float32], *, sample_rate_hz: int
) -> npt.NDArray[np.float64]:
    """Returns levels in dB, float64 [bands, columns], from the lowest band up.

    Bands above half the sample rate have a level far below `QUIETEST_DB`.
    """
    window = np.hanning(int(_WINDOW_S * sample_rate_hz)).astype(np.float32)
    size = 4 * len(window)  # padded so that even the lowest band is wider than a bin
    padded = np.pad(audio, len(window) // 2 + 1)
    starts = np.linspace(0, len(padded) - len(window), _WIDTH).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[starts]
    power = np.square(np.abs(np.fft.rfft(frames * window, size, axis=1)) * 2 / window.sum())
    edges_hz = np.geomspace(LOWEST_HZ, HIGHEST_HZ, _HEIGHT + 1)
    # A bin extends half its width to both sides of its frequency.
    edges = np.minimum(edges_hz / sample_rate_hz * size + 0.5, power.shape[1] - 1)
    # The mean between two edges, even within one bin, is a difference of cumulative sums.
    running = np.pad(np.cumsum(power, axis=1), ((0, 0), (1, 0)))
    whole = edges.astype(np.int64)
    upto = running[:, whole] + (edges - whole) * power[:, whole]
    width = np.maximum(np.diff(edges), 1e-9)
    return np.asarray(10 * np.log10(np.maximum(np.diff(upto, axis=1) / width, 1e-14)).T)
