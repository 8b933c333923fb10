"""Sings a melody: a glottal pulse through moving formants, with consonants and breaths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from singsong.schemas.arrays import FloatArray
from singsong.synth.score import SongSpec, SungNote

ControlArray = npt.NDArray[np.float64]

CONTROL_HZ = 400
_TABLE_SAMPLES = 2048
_MAX_HARMONICS = 160
_FRAME_S = 0.024
_TOP_HZ = 8500  # above this the formants leave no audible power

# Hz; Peterson and Barney (1952), men; the upper two are close together, as in singers.
_FORMANTS_HZ = {
    "a": (730, 1090, 2440, 2900, 3500),
    "e": (530, 1840, 2480, 3000, 3600),
    "i": (270, 2290, 3010, 3400, 3900),
    "o": (570, 840, 2410, 2850, 3400),
    "u": (300, 870, 2240, 2800, 3400),
    "nasal": (250, 1100, 2200, 2900, 3500),
}
# Higher formants hardly move; without them the voice sounds dull.
_UPPER_FORMANTS_HZ = (4500, 5500, 6500, 7500)
_BANDWIDTHS_HZ = (80, 100, 130, 170, 240, 350, 450, 550, 650)


@dataclass(frozen=True, kw_only=True)
class _Gestures:
    """Control curves of the voice at `CONTROL_HZ`, each [frames]; `formants_hz` is [frames, 5]."""

    f0_hz: ControlArray
    voicing: ControlArray
    breath: ControlArray
    hiss: ControlArray
    formants_hz: ControlArray


def sing(melody: Sequence[SungNote], spec: SongSpec) -> FloatArray:
    """Returns the sung melody.

    Args:
        melody: Notes in order of time, without overlap.
        spec: The spec of the song.

    Returns:
        float32 [samples], not level-normalised.

    >>> sing((), SongSpec(seed=0, seconds=1, sample_rate_hz=16000)).any()
    np.False_
    """
    if not melody:
        return np.zeros(spec.samples, np.float32)
    gestures = _gestures(melody, spec)
    white = spec.rng("voice.noise").standard_normal(spec.samples, dtype=np.float32)
    throat = _glottal_source(gestures, spec) * _upsample(gestures.voicing, spec)
    throat += 0.01 * white * _upsample(gestures.breath + 0.25 * gestures.voicing, spec)
    voice = _through_formants(throat, gestures.formants_hz, spec=spec)
    # Hiss arises at the teeth, so it does not pass through the formants.
    hiss = sosfilt(_sos(3500, "highpass", spec), white).astype(np.float32)
    voice += 0.05 * hiss * _upsample(gestures.hiss + 0.04 * gestures.voicing, spec)
    return sosfilt(_sos(70, "highpass", spec), voice).astype(np.float32)


def _gestures(melody: Sequence[SungNote], spec: SongSpec) -> _Gestures:
    frames = int(np.ceil(spec.seconds * CONTROL_HZ)) + 1
    starts = np.array([note.start_s for note in melody])
    current = np.maximum(np.searchsorted(starts, np.arange(frames) / CONTROL_HZ, "right") - 1, 0)
    voicing, breath, hiss = np.zeros((3, frames))
    vowels = np.array([_FORMANTS_HZ[note.vowel] for note in melody], np.float64)
    formants_hz = vowels[current]
    for index, note in enumerate(melody):
        here = _frames(note.start_s, note.end_s)
        voicing[here] = note.loudness * _swell(note)
        _articulate(note, voicing=voicing, breath=breath, hiss=hiss)
        if note.consonant == "nasal":
            formants_hz[_frames(note.start_s - 0.05, note.start_s + 0.03)] = _FORMANTS_HZ["nasal"]
        if note.opens:
            formants_hz[_frames(note.start_s - 0.35, note.start_s)] = vowels[index]
    f0_hz = _pitch(melody, current=current, spec=spec)
    # For a high register the vocal tract is a sixth shorter.
    size = 1.16 if np.median([note.midi for note in melody]) > 59 else 1.0
    formants_hz = gaussian_filter1d(formants_hz, 0.02 * CONTROL_HZ, axis=0) * size
    # Singers raise the first formant to the pitch; otherwise the note would sound dull.
    formants_hz[:, 0] = np.maximum(formants_hz[:, 0], 1.02 * f0_hz)
    return _Gestures(
        f0_hz=f0_hz,
        voicing=gaussian_filter1d(voicing, 0.009 * CONTROL_HZ),
        breath=gaussian_filter1d(breath, 0.02 * CONTROL_HZ),
        hiss=gaussian_filter1d(hiss, 0.006 * CONTROL_HZ),
        formants_hz=formants_hz,
    )


def _frames(start_s: float, end_s: float) -> slice:
    return slice(max(0, round(start_s * CONTROL_HZ)), max(0, round(end_s * CONTROL_HZ)))


def _swell(note: SungNote) -> ControlArray:
    """Returns a gain per control frame, which falls slowly; the last note of a phrase fades out."""
    here = _frames(note.start_s, note.end_s)
    left = np.arange(here.stop - here.start, 0, -1) / CONTROL_HZ
    release_s = 0.25 if note.closes else 0.03
    gain = np.linspace(1.0, 0.8, len(left)) * np.minimum(1.0, 0.3 + left / release_s)
    return np.asarray(gain, np.float64)


def _articulate(
    note: SungNote, *, voicing: ControlArray, breath: ControlArray, hiss: ControlArray
) -> None:
    """Writes the onset of the note into the curves."""
    start_s = note.start_s
    if note.consonant == "plosive":
        voicing[_frames(start_s - 0.06, start_s + 0.01)] = 0
        hiss[_frames(start_s - 0.005, start_s + 0.015)] = 1.0
    elif note.consonant == "fricative":
        voicing[_frames(start_s - 0.09, start_s + 0.01)] = 0
        hiss[_frames(start_s - 0.08, start_s + 0.01)] = 0.8
    elif note.consonant == "nasal":
        voicing[_frames(start_s - 0.05, start_s + 0.03)] = 0.3
    if note.opens:
        breath[_frames(start_s - 0.35, start_s - 0.12)] = 1.2


def _pitch(
    melody: Sequence[SungNote], *, current: npt.NDArray[np.int64], spec: SongSpec
) -> ControlArray:
    """Returns f0 in Hz: note steps smoothed to glides, with scoops, late vibrato and slow drift."""
    midi = np.array([note.midi for note in melody], np.float64)[current]
    time_s = np.arange(len(current)) / CONTROL_HZ
    for note in melody:
        if note.opens:
            midi[_frames(note.start_s, note.start_s + 0.05)] -= 0.8
    midi = gaussian_filter1d(midi, 0.025 * CONTROL_HZ)
    since_s = time_s - np.array([note.start_s for note in melody])[current]
    rng = spec.rng("voice.vibrato")
    rate_hz, depth = rng.uniform(5.2, 5.9), rng.uniform(0.2, 0.4)
    wobble = gaussian_filter1d(rng.standard_normal((2, len(current))), 0.1 * CONTROL_HZ, axis=1)
    wobble *= np.sqrt(2 * np.sqrt(np.pi) * 0.1 * CONTROL_HZ)  # back to unit variance
    phase = 2 * np.pi * np.cumsum(rate_hz + 0.25 * wobble[0]) / CONTROL_HZ
    vibrato = depth * np.clip((since_s - 0.2) / 0.3, 0, 1) * np.sin(phase)
    return np.asarray(440.0 * 2.0 ** ((midi + vibrato + 0.04 * wobble[1] - 69) / 12), np.float64)


def _glottal_source(gestures: _Gestures, spec: SongSpec) -> FloatArray:
    """Returns glottal pulses, float32 [samples], band-limited below half the sample rate."""
    f0_hz = _upsample(gestures.f0_hz, spec)
    phase = np.cumsum(f0_hz / spec.sample_rate_hz, dtype=np.float64)
    harmonics = np.minimum(0.45 * spec.sample_rate_hz / f0_hz, _MAX_HARMONICS).astype(np.int32)
    position = (phase - np.floor(phase)) * _TABLE_SAMPLES
    left = position.astype(np.int32)
    fraction = (position - left).astype(np.float32)
    flat = _pulse_tables().reshape(-1)
    # Each row ends with a copy of its first sample, so left + 1 needs no modulo.
    left += harmonics * (_TABLE_SAMPLES + 1)
    below = flat[left]
    return np.asarray(below + fraction * (flat[left + 1] - below), np.float32)


def _pulse_tables() -> FloatArray:
    """Returns a period of the derivative of glottal flow; row k has its first k harmonics."""
    time = np.arange(_TABLE_SAMPLES) / _TABLE_SAMPLES
    opening, closing = 0.42, 0.18  # Rosenberg pulse, as fractions of the period
    flow = np.where(
        time < opening,
        0.5 - 0.5 * np.cos(np.pi * time / opening),
        np.maximum(np.cos(np.pi * (time - opening) / (2 * closing)), 0)
        * (time < opening + closing),
    )
    spectrum = np.fft.rfft(np.gradient(flow))[: _MAX_HARMONICS + 1]
    spectrum[0] = 0
    rows = np.tril(np.ones((_MAX_HARMONICS + 1, _MAX_HARMONICS + 1))) * spectrum
    tables = np.fft.irfft(rows, _TABLE_SAMPLES, axis=1)
    tables /= np.abs(tables[-1]).max()
    return np.concatenate([tables, tables[:, :1]], axis=1).astype(np.float32)


def _through_formants(
    audio: FloatArray, formants_hz: ControlArray, *, spec: SongSpec
) -> FloatArray:
    """Returns float32 [samples], filtered frame by frame with overlap-add.

    The formants move within a note, so each frame has its own filter. Hann windows at half-frame
    steps sum to one, and each frame is padded so that its resonances can decay.
    """
    hop = int(_FRAME_S * spec.sample_rate_hz) // 2
    size = fft.next_fast_len(4 * hop, real=True)
    padded = np.pad(audio, (hop, 3 * hop))
    starts = np.arange(0, len(audio) + hop, hop)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[starts]
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    heard = np.flatnonzero(np.abs(frames).max(axis=1) > 1e-5)
    bins = min(size // 2 + 1, int(_TOP_HZ / spec.sample_rate_hz * size))
    spectra = fft.rfft(frames[heard] * window, size, axis=1)[:, :bins]
    middle_s = starts[heard] / spec.sample_rate_hz
    control = np.minimum(np.round(middle_s * CONTROL_HZ).astype(int), len(formants_hz) - 1)
    turns = np.arange(bins) / size
    spectra *= _tract_response(formants_hz[control], turns=turns, rate_hz=spec.sample_rate_hz)
    filtered = fft.irfft(spectra, size, axis=1)[:, : 4 * hop]
    out = np.zeros((len(starts) + 4, hop), np.float32)
    for part in range(4):
        out[heard + part] += filtered[:, part * hop : (part + 1) * hop]
    return np.ascontiguousarray(out.reshape(-1)[hop : hop + len(audio)])


def _tract_response(
    formants_hz: ControlArray, *, turns: ControlArray, rate_hz: int
) -> npt.NDArray[np.complex64]:
    """Returns the response, complex64 [frames, turns], of two-pole resonators in series.

    Each has unit gain at 0 Hz; `turns` are frequencies in cycles per sample.
    """
    delay = np.exp(-2j * np.pi * turns).astype(np.complex64)
    delay2 = np.exp(-4j * np.pi * turns).astype(np.complex64)
    below = np.ones((len(formants_hz), len(delay)), np.complex64)
    above = np.ones(len(formants_hz))
    upper_hz = np.tile(_UPPER_FORMANTS_HZ, (len(formants_hz), 1))
    all_hz = np.concatenate([formants_hz, upper_hz], axis=1)
    for formant_hz, bandwidth_hz in zip(all_hz.T, _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * bandwidth_hz / rate_hz)
        first = -2 * radius * np.cos(2 * np.pi * formant_hz / rate_hz)
        below *= 1 + first.astype(np.float32)[:, None] * delay + np.float32(radius**2) * delay2
        above *= 1 + first + radius**2
    return np.asarray(above.astype(np.float32)[:, None] / below, np.complex64)


def _upsample(curve: ControlArray, spec: SongSpec) -> FloatArray:
    step = CONTROL_HZ / spec.sample_rate_hz
    position = np.arange(spec.samples) * step
    return np.interp(position, np.arange(len(curve)), curve).astype(np.float32)


def _sos(cutoff_hz: float, kind: str, spec: SongSpec) -> npt.NDArray[np.float64]:
    return np.asarray(butter(2, cutoff_hz, kind, fs=spec.sample_rate_hz, output="sos"))
