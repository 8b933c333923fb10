"""Composes demo songs: a key, a tempo, chords, and a melody with syllables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from singsong.schemas.seeds import generator

Mode = Literal["major", "minor"]
Consonant = Literal["none", "plosive", "fricative", "nasal"]
Section = Literal["verse", "chorus"]

BEATS_PER_BAR = 4
BARS_PER_SECTION = 8
VOWELS = ("a", "e", "i", "o", "u")
PITCH_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

_SCALES: dict[Mode, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
}
# Scale degrees of the roots, one per bar. All begin on the tonic: a loop that begins elsewhere can
# also be heard in the relative key, so that its key would be ambiguous.
_PROGRESSIONS: dict[Mode, tuple[tuple[int, ...], ...]] = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (0, 3, 4, 0), (0, 2, 3, 4), (0, 4, 3, 4)),
    "minor": ((0, 5, 3, 4), (0, 3, 0, 4), (0, 6, 5, 4), (0, 3, 4, 0), (0, 5, 0, 4), (0, 2, 3, 4)),
}
_RHYTHM_CELLS = ((1.0,), (0.5, 0.5), (1.5, 0.5), (0.5, 1.0, 0.5), (0.5, 0.5, 1.0), (2.0,))
_STEPS = (-2, -1, -1, 0, 1, 1, 2)
# Costs of scale degrees: low for tonic, fifth and third, so that the melody alone implies the key.
_DEGREE_COST = {0: 0.0, 4: 0.8, 2: 1.2}


@dataclass(frozen=True, kw_only=True)
class Key:
    """A tonic and its scale.

    Attributes:
        tonic: Pitch class, 0 = C .. 11 = B.
        mode: The scale; in a minor key the chord on the fifth degree has a raised seventh.

    Raises:
        ValueError: The tonic is not a pitch class, or the mode is unknown.
    """

    tonic: int
    mode: Mode

    def __post_init__(self) -> None:
        if not 0 <= self.tonic < 12:
            raise ValueError(f"tonic must be a pitch class 0 .. 11, found {self.tonic}")
        if self.mode not in _SCALES:
            raise ValueError(f"mode must be one of {sorted(_SCALES)}, found {self.mode!r}")

    @property
    def name(self) -> str:
        """Such as "C# minor"."""
        return f"{PITCH_NAMES[self.tonic]} {self.mode}"

    def midi(self, degree: int, *, raise_seventh: bool) -> int:
        """Returns the MIDI note of a scale degree counted from the tonic of octave 4.

        >>> Key(tonic=0, mode="major").midi(-1, raise_seventh=False)
        59
        """
        octave, step = divmod(degree, 7)
        raised = raise_seventh and step == 6 and self.mode == "minor"
        return 60 + self.tonic + 12 * octave + _SCALES[self.mode][step] + int(raised)


@dataclass(frozen=True, kw_only=True)
class SongSpec:
    """The specification of a song; the same spec always gives the same song.

    Attributes:
        seed: Determines everything that the other fields leave open.
        seconds: Length of the song.
        key: Its key, or None to draw one.
        tempo_bpm: Quarter notes per minute, or None to draw one.
        sample_rate_hz: Sample rate of the rendered audio.

    Raises:
        ValueError: A field is outside the range in the class variable of the same name.
    """

    TEMPO_BPM: ClassVar[tuple[float, float]] = (60.0, 180.0)
    DRAWN_TEMPO_BPM: ClassVar[tuple[int, int]] = (76, 138)
    SAMPLE_RATE_HZ: ClassVar[tuple[int, int]] = (16000, 96000)
    SECONDS: ClassVar[tuple[float, float]] = (1.0, 600.0)

    seed: int
    seconds: float
    key: Key | None = None
    tempo_bpm: float | None = None
    sample_rate_hz: int = 44100

    def __post_init__(self) -> None:
        _check_range("seconds", self.seconds, bounds=self.SECONDS)
        _check_range("sample_rate_hz", self.sample_rate_hz, bounds=self.SAMPLE_RATE_HZ)
        if self.tempo_bpm is not None:
            _check_range("tempo_bpm", self.tempo_bpm, bounds=self.TEMPO_BPM)

    @property
    def samples(self) -> int:
        """Samples per channel."""
        return round(self.seconds * self.sample_rate_hz)

    def rng(self, purpose: str, key: str = "") -> np.random.Generator:
        """Returns the random generator for a purpose and a part of the song."""
        return generator(seed=self.seed, purpose=f"synth.{purpose}", key=key)


@dataclass(frozen=True, kw_only=True)
class Chord:
    """A triad with its start and end in seconds; `pitch_classes` begins with its root."""

    start_s: float
    end_s: float
    name: str
    pitch_classes: tuple[int, int, int]
    raise_seventh: bool


@dataclass(frozen=True, kw_only=True)
class Note:
    """A MIDI note with its start and end in seconds; `loudness` is an amplitude from 0 to 1."""

    start_s: float
    end_s: float
    midi: int
    loudness: float


@dataclass(frozen=True, kw_only=True)
class SungNote(Note):
    """A note with its syllable, and whether it begins or ends a phrase."""

    vowel: str
    consonant: Consonant
    opens: bool = False
    closes: bool = False


@dataclass(frozen=True, kw_only=True)
class Score:
    """A composed song: its key, tempo, chords (one per bar) and melody."""

    key: Key
    tempo_bpm: float
    chords: tuple[Chord, ...]
    melody: tuple[SungNote, ...]

    @property
    def beat_s(self) -> float:
        """Seconds per quarter note."""
        return 60.0 / self.tempo_bpm


def compose(spec: SongSpec) -> Score:
    """Composes the song of a spec.

    Each bar and phrase has its own random generator, so a longer song with the same seed begins
    with the same notes.

    >>> compose(SongSpec(seed=1, seconds=4, key=Key(tonic=9, mode="minor"))).chords[0].name
    'Am'
    """
    rng = spec.rng("song")
    drawn_key = Key(tonic=int(rng.integers(12)), mode="minor" if rng.random() < 0.5 else "major")
    drawn_tempo = float(rng.integers(*spec.DRAWN_TEMPO_BPM, endpoint=True))
    score = Score(
        key=spec.key if spec.key is not None else drawn_key,
        tempo_bpm=spec.tempo_bpm if spec.tempo_bpm is not None else drawn_tempo,
        chords=(),
        melody=(),
    )
    score = replace(score, chords=tuple(_chords(spec, score)))
    return replace(score, melody=tuple(_melody(spec, score)))


def section_of(bar: int) -> Section:
    """Returns the part of the song that a bar belongs to.

    >>> section_of(0), section_of(8), section_of(16)
    ('verse', 'chorus', 'verse')
    """
    return "chorus" if bar // BARS_PER_SECTION % 2 else "verse"


def _chords(spec: SongSpec, score: Score) -> Iterator[Chord]:
    bar_s = BEATS_PER_BAR * score.beat_s
    progressions = _PROGRESSIONS[score.key.mode]
    # A permutation makes verse and chorus differ.
    order = spec.rng("progressions").permutation(len(progressions))
    for bar in range(int(np.ceil(spec.seconds / bar_s))):
        progression = progressions[order[int(section_of(bar) == "chorus")]]
        degree = progression[bar % len(progression)]
        midis = [score.key.midi(degree + third, raise_seventh=degree == 4) for third in (0, 2, 4)]
        minor = midis[1] - midis[0] == 3
        yield Chord(
            start_s=bar * bar_s,
            end_s=min((bar + 1) * bar_s, spec.seconds),
            name=PITCH_NAMES[midis[0] % 12] + ("m" if minor else ""),
            pitch_classes=(midis[0] % 12, midis[1] % 12, midis[2] % 12),
            raise_seventh=degree == 4,
        )


def _melody(spec: SongSpec, score: Score) -> Iterator[SungNote]:
    # Men sing about an octave lower than women; the melody centres on the tonic nearest to the
    # middle of the range.
    middle = 60 if spec.rng("singer").random() < 0.5 else 52
    home = 7 * round((middle - score.key.midi(0, raise_seventh=False)) / 12)
    for phrase in range(0, len(score.chords), 2):
        yield from _phrase(spec, score, first_bar=phrase, home=home)


def _phrase(spec: SongSpec, score: Score, *, first_bar: int, home: int) -> Iterator[SungNote]:
    """Yields two bars: a motif of the section, adapted to the chords, with its own syllables."""
    answer = first_bar // 2 % 2 == 1
    motif = spec.rng("motif", f"{section_of(first_bar)}/{'answer' if answer else 'call'}")
    words = spec.rng("words", str(first_bar))
    beat, rhythm = _rhythm(motif)
    degree = home + int(motif.integers(0, 3)) + (2 if section_of(first_bar) == "chorus" else 0)
    for index, beats in enumerate(rhythm):
        last = index == len(rhythm) - 1
        chord = score.chords[min(first_bar + int(beat) // BEATS_PER_BAR, len(score.chords) - 1)]
        degree += int(motif.choice(_STEPS))
        degree = int(np.clip(degree, home - 2, home + 5))
        if last or beat % 2 == 0 or beats >= 1.5:
            degree = _settle(score.key, chord, degree=degree, tonic=last and answer)
        start_s = first_bar * BEATS_PER_BAR * score.beat_s + beat * score.beat_s
        end_s = min(start_s + beats * score.beat_s, spec.seconds)
        if end_s - start_s > 0.1:
            yield SungNote(
                start_s=start_s,
                end_s=end_s,
                midi=score.key.midi(degree, raise_seventh=chord.raise_seventh),
                loudness=float(words.uniform(0.75, 1.0)),
                vowel=str(words.choice(VOWELS)),
                consonant=_consonant(words),
                opens=index == 0,
                closes=last,
            )
        beat += beats


def _rhythm(motif: np.random.Generator) -> tuple[float, list[float]]:
    """Returns the first beat of a phrase and its note durations in beats, about 5 of 8 in total."""
    first, total = float(motif.choice((0.0, 0.5, 1.0))), float(motif.choice((4.5, 5.0, 5.5)))
    durations: list[float] = []
    while sum(durations) < total - 2:
        durations.extend(_RHYTHM_CELLS[motif.integers(len(_RHYTHM_CELLS))])
    return first, [*durations, max(1.0, total - sum(durations))]


def _settle(key: Key, chord: Chord, *, degree: int, tonic: bool) -> int:
    """Returns a nearby degree in the chord; the tonic if requested and in the chord."""
    wanted = set(chord.pitch_classes)
    if tonic and key.tonic in wanted:
        wanted = {key.tonic}

    def fits(candidate: int) -> bool:
        return key.midi(candidate, raise_seventh=chord.raise_seventh) % 12 in wanted

    def cost(candidate: int) -> float:
        return abs(candidate - degree) + _DEGREE_COST.get(candidate % 7, 2.5)

    return min(filter(fits, range(degree - 4, degree + 5)), key=cost)


def _consonant(words: np.random.Generator) -> Consonant:
    choices: tuple[Consonant, ...] = ("none", "plosive", "fricative", "nasal")
    return choices[words.choice(4, p=(0.35, 0.25, 0.2, 0.2))]


def _check_range(name: str, value: float, *, bounds: tuple[float, float]) -> None:
    if not bounds[0] <= value <= bounds[1]:
        raise ValueError(f"{name} must be between {bounds[0]} and {bounds[1]}, found {value}")
