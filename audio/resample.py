"""Sample rate conversion of clips and streams, with soxr's HQ setting."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import soxr

VERSION = 1
"""Version of this step's arithmetic, part of the name of every part: raised when results change."""

QUALITY = "HQ"


def resampled_samples(samples: int, *, from_hz: int, to_hz: int) -> int:
    """Returns the length of a clip at another sample rate, with halves rounded up as by soxr.

    Args:
        samples: Length at `from_hz`.
        from_hz: Sample rate of the input.
        to_hz: Sample rate of the output.

    Raises:
        ValueError: A rate is not positive.

    >>> resampled_samples(441000, from_hz=44100, to_hz=16000)
    160000
    >>> resampled_samples(1, from_hz=32000, to_hz=16000)
    1
    """
    if from_hz <= 0 or to_hz <= 0:
        raise ValueError(f"from_hz and to_hz must be positive, found {from_hz} and {to_hz}")
    return (2 * samples * to_hz + from_hz) // (2 * from_hz)


def resample(
    audio: npt.NDArray[np.float32], *, from_hz: int, to_hz: int
) -> npt.NDArray[np.float32]:
    """Returns the audio at another sample rate, with a length of exactly `resampled_samples`.

    soxr computes that length in floating point and can be one sample off at halves; then the last
    sample is removed, or a zero is appended.

    Args:
        audio: float32 [..., samples].
        from_hz: Sample rate of the input.
        to_hz: Sample rate of the output.

    Returns:
        float32 [..., resampled_samples(samples)], always a new array. A NaN or infinite sample
        makes less than 0.1 s around it NaN, as in `resample_blocks`.

    Raises:
        ValueError: A rate is not positive.

    >>> resample(np.zeros((2, 441000), np.float32), from_hz=44100, to_hz=16000).shape
    (2, 160000)
    """
    samples = audio.shape[-1]
    result = np.zeros(
        (*audio.shape[:-1], resampled_samples(samples, from_hz=from_hz, to_hz=to_hz)), np.float32
    )
    if samples == 0:
        return result
    rows = audio.reshape(-1, samples).astype(np.float32)
    if from_hz == to_hz:
        return rows.reshape(result.shape)
    for row, out in zip(rows, result.reshape(len(rows), result.shape[-1]), strict=True):
        converted = soxr.resample(row, from_hz, to_hz, quality=QUALITY)[: out.size]
        out[: converted.size] = converted
    return result


def resample_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], *, from_hz: int, to_hz: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Yields a stream at another sample rate; the samples do not depend on the block sizes.

    soxr's output is the same to the last bit however the input is split into blocks. A NaN or
    infinite sample makes only the FFT block that contains it NaN.

    Args:
        blocks: Consecutive float32 [samples] or [samples, channels].
        from_hz: Sample rate of the input.
        to_hz: Sample rate of the output.

    Yields:
        Consecutive non-empty float32 like the blocks, `resampled_samples` in total. If the rates
        are equal, the blocks themselves.

    Raises:
        ValueError: A rate is not positive.

    >>> blocks = [np.zeros(n, np.float32) for n in (400, 0, 41)]
    >>> sum(len(block) for block in resample_blocks(blocks, from_hz=44100, to_hz=16000))
    160
    """
    resampled_samples(0, from_hz=from_hz, to_hz=to_hz)
    if from_hz == to_hz:
        yield from (block for block in blocks if block.size)
    else:
        yield from _convert_blocks(blocks, from_hz=from_hz, to_hz=to_hz)


def _convert_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], *, from_hz: int, to_hz: int
) -> Iterator[npt.NDArray[np.float32]]:
    rest = iter(blocks)
    first = next(rest, None)
    if first is None:
        return
    inner = first.shape[1:]
    stream = soxr.ResampleStream(from_hz, to_hz, *(inner or (1,)), dtype="float32", quality=QUALITY)
    taken = given = 0
    for block in itertools.chain([first], rest):
        taken += len(block)
        converted = stream.resample_chunk(block)
        given += len(converted)
        if converted.size:
            yield converted
    held = stream.resample_chunk(np.zeros((0, *inner), np.float32), last=True)
    missing = resampled_samples(taken, from_hz=from_hz, to_hz=to_hz) - given
    tail = np.zeros((max(missing, 0), *inner), np.float32)
    tail[: len(held)] = held[: len(tail)]
    if tail.size:
        yield tail
