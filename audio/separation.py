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
_PAD_SECONDS = 1.0
"""Longer lags wrap: they are found, but not told apart."""
_FRAME_SECONDS = 0.05
_AROUND_FRAMES = 5
"""A separator's window smears a beat over 0.1 to 0.2 s, into silence too."""
_FLOOR_POWER = 1e-6
_CLICK_SHARE = 1e-3
_ACTIVE_POWER = 1e-4
_LEAST_POWER = 1e-10
_TELLING_POWER = 1e-7
_TELLING_RATIO = 1e-3
_DEVIATIONS = 3.0
_CERTAIN_PEAK = 15.0
"""Peak of a correlation over its RMS. Of 125 real clips the least is 35, of noise it is about 7."""
_TIE = 0.9
"""Another peak this close to that at lag 0 is a repetition. In real clips of 10 s it is at 0.45."""
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


def measure_separation(
    mix: FloatArray, vocals: FloatArray, *, sample_rate_hz: int, offset_power: float = 0.0
) -> Separation:
    """Returns how the vocals of a clip lie in its mix.

    Args:
        mix: float32 [samples], without its offset (`singsong.audio.loudness.without_offset`).
        vocals: float32 [samples], likewise.
        sample_rate_hz: Samples per second.
        offset_power: Mean square of the offset that was removed from the mix.

    >>> mix = np.random.default_rng(0).standard_normal(44100).astype(np.float32)
    >>> measured = measure_separation(mix, np.roll(mix, 4410), sample_rate_hz=44100)
    >>> round(measured.lag_ms), round(abs(measured.gain_in_mix), 1)
    (100, 0.0)
    """
    # Separators pad a clip with zeros. Where the offset ends, their vocals have a click.
    click = _CLICK_SHARE * offset_power
    frame = max(1, round(_FRAME_SECONDS * sample_rate_hz))
    levels = frame_powers(vocals, frame)
    step = max(1, sample_rate_hz // _RATE_HZ)
    slow_mix, slow_vocals = _decimated(mix, step), _decimated(vocals, step)
    rate_hz, least = sample_rate_hz / step, _TELLING_POWER + 0.1 * click
    lag, gain = _lag_and_gain(slow_mix, slow_vocals, rate_hz=rate_hz, telling_power=least)
    return Separation(
        lag_ms=1000 * lag / rate_hz,
        gain_in_mix=gain,
        excess_fraction=_excess_fraction(slow_mix, slow_vocals, telling_power=least),
        above_mix_db=_above_mix_db(frame_powers(mix, frame), levels, floor=_FLOOR_POWER + click),
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


def _lag_and_gain(
    mix: FloatArray, vocals: FloatArray, *, rate_hz: float, telling_power: float
) -> tuple[float, float]:
    """Returns the lag of the vocals in samples, and the gain with which the mix holds them."""
    size = _fast_size(len(mix) + round(_PAD_SECONDS * rate_hz))
    lowest = int(np.ceil(_LOWEST_HZ * size / rate_hz))
    of_mix, of_vocals = np.fft.rfft(mix, size), np.fft.rfft(vocals, size)
    of_mix[:lowest] = of_vocals[:lowest] = 0
    mix_energy, vocals_energy = (_total(_powers(of_one)) for of_one in (of_mix, of_vocals))
    vocals_power = 2 * vocals_energy / size / len(mix)
    if vocals_power <= _LEAST_POWER or not mix_energy:
        return 0.0, 1.0 if vocals_power <= telling_power else 0.0
    cross = of_mix * of_vocals.conj()
    powers = _powers(cross)
    lag, inverted = _lag(cross, powers, size)
    gain = _total(cross.real) / vocals_energy
    # Of vocals that have nothing to do with the mix, the gain would be 0 plus or minus this.
    deviation = float(np.sqrt(_total(powers) * size / len(mix) / 2)) / vocals_energy
    audible = vocals_power > telling_power and vocals_energy > _TELLING_RATIO * mix_energy
    tells = audible and abs(gain - 1) > _DEVIATIONS * deviation
    return lag, gain if tells or inverted else 1.0


def _lag(
    cross: npt.NDArray[np.complexfloating], powers: npt.NDArray[np.float32], size: int
) -> tuple[float, bool]:
    """Returns the lag of a clear peak of the correlation, else 0, and whether it is negative."""
    # Divided by their magnitude to the power of 5/8, so that the peak is sharp for sustained notes
    # too; 1 would make all of the spectrum count alike, and most of it is noise.
    root = np.sqrt(np.sqrt(powers + np.float32(1e-24) * powers.max()))
    correlation = np.fft.irfft(cross / (root * np.sqrt(np.sqrt(root))), size)
    peak = int(np.argmax(np.abs(correlation)))
    certain = abs(correlation[peak]) > _CERTAIN_PEAK * float(np.sqrt(np.mean(correlation**2)))
    inverted = bool(certain and correlation[peak] < 0)
    if not certain or abs(correlation[0]) >= _TIE * abs(correlation[peak]):
        return 0.0, inverted
    return float(size - peak if peak > size // 2 else -peak), inverted


def _fast_size(least: int) -> int:
    """Returns a length that transforms well: 8 to 15 times a power of two."""
    shift = max(0, least.bit_length() - 4)
    return -(-least >> shift) << shift


def _powers(spectrum: npt.NDArray[np.complexfloating]) -> FloatArray:
    return np.asarray(spectrum.real**2 + spectrum.imag**2, np.float32)


def _total(values: npt.NDArray[np.floating]) -> float:
    return float(values.sum(dtype=np.float64))


def _excess_fraction(mix: FloatArray, vocals: FloatArray, *, telling_power: float) -> float:
    of_mix, of_vocals = _band_powers(mix), _band_powers(vocals)
    total = float(of_vocals.sum())
    if total * 2 / _BAND_SAMPLES * 8 / 3 <= len(mix) * telling_power:
        return 0.0
    return float(of_vocals[of_vocals > _EXCESS * of_mix].sum()) / total


def _band_powers(audio: FloatArray) -> npt.NDArray[np.float32]:
    """Returns the power [frames, bands] of Hann frames, without the lowest bins."""
    window = np.hanning(_BAND_SAMPLES).astype(np.float32)
    spectrum = np.fft.rfft(padded_frames(audio, _BAND_SAMPLES) * window)
    power = _powers(spectrum[:, 4:-1])
    return power.reshape(len(power), -1, _BAND_BINS).sum(2)


def _above_mix_db(
    mix: npt.NDArray[np.float64], vocals: npt.NDArray[np.float64], *, floor: float
) -> float:
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(mix, _AROUND_FRAMES), 2 * _AROUND_FRAMES + 1
    ).max(1)
    ratio = np.maximum(vocals, floor) / np.maximum(around, floor)
    return float(10 * np.log10(ratio.max()))
