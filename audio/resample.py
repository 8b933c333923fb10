"""Sample rate conversion with soxr's high quality, of clips and of streams of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import soxr

QUALITY = "HQ"


def resampled_samples(samples: int, *, from_hz: int, to_hz: int) -> int:
    """Returns the length of `samples` samples at another rate, a half rounded up as soxr does.

    Args:
        samples: Length at `from_hz`.
        from_hz: Present samples per second.
        to_hz: Wanted samples per second.

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
    """Returns the audio at another rate, its length exactly `resampled_samples` of the old one.

    soxr computes that length in floating point and can be one sample off where it is a whole number
    and a half; the last sample is then cut, or a zero is put behind it.

    Args:
        audio: float32 [..., samples].
        from_hz: Its samples per second.
        to_hz: Wanted samples per second.

    Returns:
        float32 [..., resampled_samples(samples)], always a new array. A NaN or an infinity makes
        its neighbourhood of less than a tenth of a second NaN, as it does in `resample_blocks`.

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
    """Yields a stream at another rate, the same samples however the stream is cut into blocks.

    soxr looks at the samples alone and not at the calls they come in, so the result is equal to the
    last bit to that of one block. A sample that is NaN or infinite makes only its neighbourhood
    NaN (the FFT block it falls into); the rest of the stream is untouched.

    Args:
        blocks: Consecutive float32 [samples].
        from_hz: Their samples per second.
        to_hz: Wanted samples per second.

    Yields:
        Consecutive non-empty float32 [samples], in all `resampled_samples` of what came in. Where
        the rates are equal: the blocks themselves.

    Raises:
        ValueError: A rate is not positive.

    >>> blocks = [np.zeros(n, np.float32) for n in (400, 0, 41)]
    >>> sum(len(block) for block in resample_blocks(blocks, from_hz=44100, to_hz=16000))
    160
    """
    resampled_samples(0, from_hz=from_hz, to_hz=to_hz)
    if from_hz == to_hz:
        yield from (block for block in blocks if block.size)
        return
    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality=QUALITY)
    taken = given = 0
    for block in blocks:
        taken += block.size
        converted = stream.resample_chunk(block)
        given += converted.size
        if converted.size:
            yield converted
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    missing = resampled_samples(taken, from_hz=from_hz, to_hz=to_hz) - given
    tail = np.zeros(max(missing, 0), np.float32)
    tail[: rest.size] = rest[: tail.size]
    if tail.size:
        yield tail
