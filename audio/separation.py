"""Whether vocals are the vocals of their mix: what a separator that works cannot help but fulfil.

A separator multiplies the spectrum of the mix by something close to a mask between 0 and 1. So its
vocals correlate with the mix at lag 0 more than at any other lag, the mix holds them with a gain of
1 or more (more where the mask is soft), and they are nowhere louder than the mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from singsong.audio.frames import frame_powers, padded_frames
from singsong.schemas.arrays import FloatArray
from singsong.schemas.errors import BadSeparationError
from singsong.schemas.separation import SeparationLimits

_RATE_HZ = 5500  # about; most of a voice lies below half of it
_LOWEST_HZ = 40.0
_FRAME_SECONDS = 0.05
_AROUND_FRAMES = 5
"""A separator's window smears a beat over 0.1 to 0.2 s, into silence too."""
_FLOOR_POWER = 1e-6
_ACTIVE_POWER = 1e-4
_TELLING_POWER = 1e-7
_TELLING_RATIO = 1e-3
_CERTAIN_PEAK = 15.0
"""Peak of a correlation over its RMS. Of 155 real clips the least is 20, of noise it is about 7."""
_TIE = 0.9
_BAND_SAMPLES, _BAND_BINS = 512, 12
_EXCESS = 3.0


@dataclass(frozen=True, kw_only=True)
class Separation:
    """The vocals of a clip beside its mix.

    Attributes:
        lag_ms: How late the vocals are, in milliseconds; 0 where that cannot be told.
        gain_in_mix: Gain with which the mix holds the vocals, <mix, vocals> / <vocals, vocals>: 1
            or more if they are right, 1/3 if three times too loud, 0 if they are not in the mix,
            negative if inverted; 1 where the vocals are too faint to tell.
        excess_fraction: Part of the vocals' energy in bands of time and frequency where they have
            more than three times the power of the mix.
        above_mix_db: Most that a frame of the vocals is above all frames of the mix around it;
            levels below -60 dBFS count as -60 dBFS.
        active_fraction: Part of the clip in which the vocals are above -40 dBFS.
    """

    lag_ms: float
    gain_in_mix: float
    excess_fraction: float
    above_mix_db: float
    active_fraction: float


def measure_separation(mix: FloatArray, vocals: FloatArray, *, sample_rate_hz: int) -> Separation:
    """Returns how the vocals of a clip lie in its mix.

    Args:
        mix: float32 [samples], without offset (`singsong.audio.loudness.without_offset`).
        vocals: float32 [samples], likewise.
        sample_rate_hz: Samples per second.

    >>> mix = np.random.default_rng(0).standard_normal(44100).astype(np.float32)
    >>> measured = measure_separation(mix, np.roll(mix, 4410), sample_rate_hz=44100)
    >>> round(measured.lag_ms), round(abs(measured.gain_in_mix), 1)
    (100, 0.0)
    """
    frame = max(1, round(_FRAME_SECONDS * sample_rate_hz))
    levels = frame_powers(vocals, frame)
    step = max(1, sample_rate_hz // _RATE_HZ)
    slow_mix, slow_vocals = _decimated(mix, step), _decimated(vocals, step)
    lag, gain = _lag_and_gain(slow_mix, slow_vocals, rate_hz=sample_rate_hz / step)
    return Separation(
        lag_ms=1000 * lag * step / sample_rate_hz,
        gain_in_mix=gain,
        excess_fraction=_excess_fraction(slow_mix, slow_vocals),
        above_mix_db=_above_mix_db(frame_powers(mix, frame), levels),
        active_fraction=float((levels > _ACTIVE_POWER).mean()),
    )


def check_separation(found: Separation, limits: SeparationLimits) -> None:
    """Refuses vocals that cannot be those of the mix.

    Raises:
        BadSeparationError: A limit is exceeded.
    """
    if abs(found.lag_ms) > limits.max_lag_ms:
        late = "late" if found.lag_ms > 0 else "early"
        raise BadSeparationError(
            f"the vocals are {abs(found.lag_ms):.1f} ms {late}, over {limits.max_lag_ms:g} ms"
        )
    if not found.gain_in_mix >= limits.min_gain_in_mix:
        raise BadSeparationError(
            f"the mix holds the vocals with a gain of {found.gain_in_mix:.2f}, below "
            f"{limits.min_gain_in_mix:g}: they are {_gain_in_words(found.gain_in_mix)}"
        )
    if not found.excess_fraction <= limits.max_excess_fraction:
        raise BadSeparationError(
            f"{found.excess_fraction:.0%} of the vocals' energy is where they are louder than the "
            f"mix, over {limits.max_excess_fraction:.0%}"
        )
    if not found.above_mix_db <= limits.max_above_mix_db:
        raise BadSeparationError(
            f"the vocals rise {found.above_mix_db:.1f} dB above the mix around them, over "
            f"{limits.max_above_mix_db:g} dB"
        )


def _gain_in_words(gain: float) -> str:
    if gain < -0.1:
        return "inverted"
    return "not those of this mix" if gain < 0.1 else "too loud"


def _decimated(audio: FloatArray, step: int) -> FloatArray:
    """Returns the mean of each `step` samples; both signals alias alike, so gain and lag hold."""
    whole = audio[: len(audio) // step * step]
    total = whole[0::step].copy()
    for start in range(1, step):
        total += whole[start::step]
    return total / np.float32(step)


def _lag_and_gain(mix: FloatArray, vocals: FloatArray, *, rate_hz: float) -> tuple[float, float]:
    """Returns the lag of the vocals in samples, and the gain with which the mix holds them."""
    size = 1 << (2 * len(mix)).bit_length()
    lowest = int(np.ceil(_LOWEST_HZ * size / rate_hz))
    of_mix, of_vocals = np.fft.rfft(mix, size), np.fft.rfft(vocals, size)
    of_mix[:lowest] = of_vocals[:lowest] = 0
    mix_energy = float(np.square(np.abs(of_mix)).sum(dtype=np.float64))
    vocals_energy = float(np.square(np.abs(of_vocals)).sum(dtype=np.float64))
    # A transform of `size` samples holds size / 2 times the energy of the signal.
    if 2 * vocals_energy / size <= len(mix) * 1e-3 * _TELLING_POWER or not mix_energy:
        return 0.0, 1.0
    cross = of_mix * of_vocals.conj()
    gain = float(cross.real.sum(dtype=np.float64)) / vocals_energy
    # Half whitened, so that the peak is sharp for sustained notes too.
    magnitude = np.abs(cross)
    whitened = cross / np.sqrt(magnitude + np.float32(1e-12) * magnitude.max())
    correlation = np.fft.irfft(whitened, size)
    peak = int(np.argmax(np.abs(correlation)))
    certain = abs(correlation[peak]) > _CERTAIN_PEAK * float(np.sqrt(np.mean(correlation**2)))
    if certain and abs(correlation[0]) < _TIE * abs(correlation[peak]):
        return float(size - peak if peak > size // 2 else -peak), gain
    audible = (
        2 * vocals_energy / size > len(mix) * _TELLING_POWER
        and vocals_energy > _TELLING_RATIO * mix_energy
    )
    return 0.0, gain if audible or certain else 1.0


def _excess_fraction(mix: FloatArray, vocals: FloatArray) -> float:
    of_mix, of_vocals = _band_powers(mix), _band_powers(vocals)
    total = float(of_vocals.sum())
    if total * 2 / _BAND_SAMPLES * 8 / 3 <= len(mix) * _TELLING_POWER:
        return 0.0
    return float(of_vocals[of_vocals > _EXCESS * of_mix].sum()) / total


def _band_powers(audio: FloatArray) -> npt.NDArray[np.float32]:
    """Returns the power [frames, bands] of Hann frames, without the lowest bins."""
    window = np.hanning(_BAND_SAMPLES).astype(np.float32)
    spectrum = np.fft.rfft(padded_frames(audio, _BAND_SAMPLES) * window)
    power = np.square(np.abs(spectrum[:, 4:-1]))
    return power.reshape(len(power), -1, _BAND_BINS).sum(2)


def _above_mix_db(mix: npt.NDArray[np.float64], vocals: npt.NDArray[np.float64]) -> float:
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(mix, _AROUND_FRAMES), 2 * _AROUND_FRAMES + 1
    ).max(1)
    ratio = np.maximum(vocals, _FLOOR_POWER) / np.maximum(around, _FLOOR_POWER)
    return float(10 * np.log10(ratio.max()))
