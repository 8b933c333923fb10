"""Renders the band: strummed and sustained chords, bass and drums."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from singsong.schemas.arrays import FloatArray
from singsong.synth.score import (
    BARS_PER_SECTION,
    BEATS_PER_BAR,
    Chord,
    Note,
    Score,
    SongSpec,
    section_of,
)

Pan = tuple[float, float]

# One character per eighth note of a bar. Digits are loudness out of 9; R is the root, F the fifth.
_STRUMS = ("90607040", "90067060", "90509050", "90660656")
_BASS_LINES = ("R0R0R0R0", "R00RR0F0", "RRRRRRRR", "R000F000", "R00R00F0")
_KICKS = ("90009000", "90090900", "90090090", "90000900")
_HATS = ("74747474", "70707070", "64646474")
_BACKBEAT = "00900090"
_FILLS = (
    "s0s0sstt",
    "ss0sttTT",
    "s0stt0TT",
)  # the last eight sixteenth notes; s is the snare, t and T are toms
_BETWEEN_STRINGS_S = 0.012
_TABLE_SAMPLES = 2**14
_TABLE_SHIFT = np.uint32(32 - 14)


def play_chords(score: Score, spec: SongSpec) -> FloatArray:
    """Returns strummed strings over sustained tones; the patterns depend on the section.

    Args:
        score: The composed song.
        spec: The spec of the song.

    Returns:
        float32 [2, samples], not level-normalised.

    >>> from singsong.synth.score import compose
    >>> spec = SongSpec(seed=0, seconds=1, sample_rate_hz=16000)
    >>> play_chords(compose(spec), spec).shape
    (2, 16000)
    """
    out = np.zeros((2, spec.samples), np.float32)
    bar_s = BEATS_PER_BAR * score.beat_s
    tilt = float(spec.rng("chords").uniform(1.1, 1.5))
    pluck = cache(partial(_plucked, seconds=bar_s, tilt=tilt, decay_s=0.7, spec=spec))
    for note in _strums(score, spec):
        _place(out, pluck(note.midi), note=note, pan=(0.9, 0.5), spec=spec)
    for pan, cents in (((0.3, 0.05), -5), ((0.05, 0.3), 5)):
        held = cache(partial(_held, cents=cents, seconds=bar_s, spec=spec))
        for note in _held_notes(score):
            _place(out, held(note.midi), note=note, pan=pan, spec=spec)
    return out


def play_bass(score: Score, spec: SongSpec) -> FloatArray:
    """Returns roots and fifths as float32 [2, samples]; arguments as in `play_chords`.

    >>> from singsong.synth.score import compose
    >>> spec = SongSpec(seed=0, seconds=1, sample_rate_hz=16000)
    >>> bool(np.abs(play_bass(compose(spec), spec)).max() > 0.1)
    True
    """
    out = np.zeros((2, spec.samples), np.float32)
    seconds = BEATS_PER_BAR * score.beat_s
    pluck = cache(partial(_plucked, seconds=seconds, tilt=1.6, decay_s=1.2, spec=spec))
    for note in _bass_line(score, spec):
        _place(out, pluck(note.midi), note=note, pan=(0.7, 0.7), spec=spec)
    return out


def play_drums(score: Score, spec: SongSpec) -> FloatArray:
    """Returns the drum kit as float32 [2, samples]; arguments as in `play_chords`.

    >>> from singsong.synth.score import compose
    >>> spec = SongSpec(seed=0, seconds=1, sample_rate_hz=16000)
    >>> bool(np.abs(play_drums(compose(spec), spec)).max() > 0.1)
    True
    """
    out = np.zeros((2, spec.samples), np.float32)
    kit: dict[str, tuple[FloatArray, Pan]] = {
        "kick": (_drum("kick", spec, pitch_hz=48, sweep_hz=130, decay_s=0.11), (0.9, 0.9)),
        "snare": (_drum("snare", spec, pitch_hz=185, decay_s=0.08, noise=0.7), (0.6, 0.5)),
        "hat": (_drum("hat", spec, decay_s=0.03, noise=0.3, above_hz=7000), (0.3, 0.6)),
        "crash": (_drum("crash", spec, decay_s=0.6, noise=0.25, above_hz=4000), (0.5, 0.3)),
        "t": (_drum("t", spec, pitch_hz=120, sweep_hz=40, decay_s=0.15), (0.4, 0.7)),
        "T": (_drum("T", spec, pitch_hz=85, sweep_hz=30, decay_s=0.18), (0.7, 0.4)),
    }
    for start_s, drum, loudness in _hits(score, spec):
        sound, pan = kit[drum]
        note = Note(start_s=start_s, end_s=spec.seconds, midi=0, loudness=loudness)
        _place(out, sound, note=note, pan=pan, spec=spec)
    return out


def _strums(score: Score, spec: SongSpec) -> Iterator[Note]:
    for bar, chord in enumerate(score.chords):
        pattern = _pick(spec, "strums", section_of(bar), _STRUMS)
        struck = [index for index, hard in enumerate(pattern) if hard != "0"]
        for index, following in zip(struck, [*struck[1:], len(pattern)], strict=True):
            strings = _voicing(chord, lowest=48, strings=5)
            upstroke = index % 2 == 1
            for order, midi in enumerate(reversed(strings) if upstroke else strings):
                late_s = order * _BETWEEN_STRINGS_S
                yield Note(
                    start_s=chord.start_s + index * score.beat_s / 2 + late_s,
                    end_s=chord.start_s + following * score.beat_s / 2 + late_s,
                    midi=midi,
                    loudness=int(pattern[index]) / 9 * (0.7 if upstroke else 1.0),
                )


def _held_notes(score: Score) -> Iterator[Note]:
    for bar, chord in enumerate(score.chords):
        loudness = 1.0 if section_of(bar) == "chorus" else 0.5
        for midi in _voicing(chord, lowest=60, strings=3):
            yield Note(start_s=chord.start_s, end_s=chord.end_s + 0.1, midi=midi, loudness=loudness)


def _bass_line(score: Score, spec: SongSpec) -> Iterator[Note]:
    for bar, chord in enumerate(score.chords):
        line = _pick(spec, "bass", section_of(bar), _BASS_LINES)
        root = 28 + (chord.pitch_classes[0] - 28) % 12
        struck = [index for index, which in enumerate(line) if which != "0"]
        for index, following in zip(struck, [*struck[1:], len(line)], strict=True):
            yield Note(
                start_s=chord.start_s + index * score.beat_s / 2,
                end_s=chord.start_s + following * score.beat_s / 2 - 0.02,
                midi=root + (7 if line[index] == "F" else 0),
                loudness=1.0 if index % 2 == 0 else 0.8,
            )


def _hits(score: Score, spec: SongSpec) -> Iterator[tuple[float, str, float]]:
    """Yields (start in seconds, drum, loudness), up to 5 ms late."""
    for bar, chord in enumerate(score.chords):
        section = section_of(bar)
        human = spec.rng("drums", str(bar))
        filled = (bar + 1) % BARS_PER_SECTION == 0 or (bar % 4 == 3 and human.random() < 0.5)
        grid: list[tuple[float, str, float]] = []  # beats
        for drum, pattern in (
            ("kick", _pick(spec, "kick", section, _KICKS)),
            ("snare", _BACKBEAT),
            ("hat", _pick(spec, "hat", section, _HATS)),
        ):
            kept = pattern[:4] if filled and drum != "hat" else pattern
            grid += [(index / 2, drum, int(hard) / 9) for index, hard in enumerate(kept)]
        if filled:
            fill = _FILLS[human.integers(len(_FILLS))]
            drums = ("snare" if which == "s" else which for which in fill)
            grid += [
                (2 + index / 4, drum, 0.0 if drum == "0" else 0.5 + index / 16)
                for index, drum in enumerate(drums)
            ]
        if bar % BARS_PER_SECTION == 0:
            grid.append((0.0, "crash", 0.9))
        for beat, drum, loudness in grid:
            if loudness:
                late_s = float(human.uniform(0, 0.005))
                yield chord.start_s + beat * score.beat_s + late_s, drum, loudness


def _pick(spec: SongSpec, what: str, section: str, patterns: tuple[str, ...]) -> str:
    return patterns[spec.rng(what, section).integers(len(patterns))]


def _voicing(chord: Chord, *, lowest: int, strings: int) -> list[int]:
    """Returns the lowest notes of a chord, from a MIDI note upwards.

    So consecutive chords move by small steps, as on a real instrument.
    """
    notes = [midi for midi in range(lowest, lowest + 36) if midi % 12 in chord.pitch_classes]
    return notes[:strings]


def _place(out: FloatArray, sound: FloatArray, *, note: Note, pan: Pan, spec: SongSpec) -> None:
    """Adds a sound to `out` [2, samples], cut to the length of the note and faded out."""
    start = round(note.start_s * spec.sample_rate_hz)
    stop = min(round(note.end_s * spec.sample_rate_hz), spec.samples, start + len(sound))
    if stop <= start:
        return
    heard = sound[: stop - start] * np.float32(note.loudness)
    fade = min(len(heard), spec.sample_rate_hz // 80)
    heard[len(heard) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    for channel, gain in enumerate(pan):
        out[channel, start:stop] += np.float32(gain) * heard


def _plucked(
    midi: int, *, seconds: float, tilt: float, decay_s: float, spec: SongSpec
) -> FloatArray:
    """Returns a plucked string, whose upper harmonics decay faster."""
    time_s = _time_s(seconds, spec)
    tone = partial(_tone, midi, samples=len(time_s), spec=spec)
    bright = tone(lambda k: k**-tilt * np.abs(np.sin(0.22 * np.pi * k)))
    dull = tone(lambda k: 0.7 * k ** -(tilt + 1))
    ringing = np.exp(-time_s / decay_s)
    # The fifth power of the envelope decays five times as fast.
    sound = ringing * (dull + ringing**4 * bright)
    attack = spec.sample_rate_hz // 300
    sound[:attack] *= np.linspace(0, 1, attack, dtype=np.float32)
    return sound


def _held(midi: int, *, cents: float, seconds: float, spec: SongSpec) -> FloatArray:
    """Returns an organ-like tone that fades in."""
    time_s = _time_s(seconds + 0.1, spec)
    pitch = midi + cents / 100
    tone = _tone(pitch, lambda k: np.exp(-0.35 * k) / k, samples=len(time_s), spec=spec)
    return tone * np.minimum(time_s / np.float32(0.12), 1)


def _tone(
    midi: float,
    amplitudes: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
    *,
    samples: int,
    spec: SongSpec,
) -> FloatArray:
    """Returns a sum of harmonics below half the sample rate; the k-th has `amplitudes(k)`."""
    pitch_hz = 440.0 * 2 ** ((midi - 69) / 12)
    harmonics = np.arange(1, min(40, int(0.45 * spec.sample_rate_hz / pitch_hz)) + 1)
    spectrum = np.zeros(_TABLE_SAMPLES // 2 + 1, np.complex64)
    # Different phases avoid one large peak per period.
    spectrum[harmonics] = amplitudes(harmonics.astype(np.float64)) * 1j**harmonics
    table = np.fft.irfft(spectrum, norm="forward").astype(np.float32) / 2
    # The phase as a 32-bit integer, which wraps around exactly.
    turn = np.uint32(round(pitch_hz / spec.sample_rate_hz * 2**32))
    return table[(np.arange(samples, dtype=np.uint32) * turn) >> _TABLE_SHIFT]


def _drum(
    name: str,
    spec: SongSpec,
    *,
    decay_s: float,
    pitch_hz: float = 0.0,
    sweep_hz: float = 0.0,
    noise: float = 0.02,
    above_hz: float = 1500,
) -> FloatArray:
    """Returns a sine of falling pitch plus high-passed noise, with a common decay."""
    time_s = _time_s(6 * decay_s, spec)
    turns = pitch_hz * time_s + sweep_hz * 0.03 * (1 - np.exp(-time_s / 0.03))
    hiss = spec.rng("kit", name).standard_normal(len(time_s), dtype=np.float32)
    high_hz = min(above_hz, 0.4 * spec.sample_rate_hz)
    sos = butter(2, high_hz, "highpass", fs=spec.sample_rate_hz, output="sos")
    body = np.sin(2 * np.pi * turns) + noise * sosfilt(sos, hiss)
    return np.asarray(body * np.exp(-time_s / decay_s), np.float32)


def _time_s(seconds: float, spec: SongSpec) -> FloatArray:
    samples = np.arange(int(seconds * spec.sample_rate_hz), dtype=np.float32)
    return samples / np.float32(spec.sample_rate_hz)
