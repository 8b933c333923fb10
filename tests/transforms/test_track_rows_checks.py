"""Levels, the filter, the separation and clips that fail, each against figures taken by hand."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from singsong.schemas.recipe import NO_FILTER, EncodeRecipe, LoudnessFilter, LoudnessWindow
from singsong.schemas.separation import NO_SEPARATION_LIMITS
from tests.support.stems import (
    RATE,
    RECIPE,
    SAMPLES,
    KnownSeparator,
    Stems,
    sine,
    song,
    telling_models,
)
from tests.transforms.test_track_rows import assert_codes, clip_name, encode

WINDOWS = [
    LoudnessWindow(),
    LoudnessWindow(seconds=0.02),
    LoudnessWindow(seconds=0.1, hop_fraction=1.0),
]


def burst(hz: float, level: float, *, at_s: float) -> np.ndarray:
    """A tone of 30 ms, so that the measured level depends on the window."""
    tone = sine(hz, level)
    start = round(at_s * RATE)
    tone[:start] = 0
    tone[start + round(0.03 * RATE) :] = 0
    return tone


def peak_db(audio: np.ndarray, window: LoudnessWindow) -> float:
    """The loudest window, each measured by itself."""
    power = audio.astype(np.float64) ** 2
    samples = round(window.seconds * RATE)
    hop = round(samples * window.hop_fraction)
    starts = range(0, len(power) - samples + 1, hop)
    return 10 * np.log10(max(power[start : start + samples].mean() for start in starts))


@pytest.mark.parametrize("window", WINDOWS)
def test_levels_are_those_of_the_stem_in_the_window_of_the_recipe(window: LoudnessWindow) -> None:
    clips = [
        Stems(vocals=burst(700, 0.3, at_s=0.06), instrumental=burst(90, 0.6, at_s=0.13)),
        Stems(vocals=burst(500, 0.5, at_s=0.12), instrumental=burst(130, 0.2, at_s=0.07)),
    ]
    for clip, row in zip(clips, encode(clips, replace(RECIPE, window=window)), strict=True):
        for source in ("mix", "vocals", "instrumental"):
            want = peak_db(getattr(clip, source), window)
            # The slow part of a burst counts as an offset.
            assert row[f"{source}_peak_rms_db"] == pytest.approx(want, abs=0.05), source


def test_windows_measure_differently() -> None:
    """Without it, the test above would pass with the window ignored."""
    levels = [peak_db(burst(700, 0.3, at_s=0.11), window) for window in WINDOWS]
    assert min(np.diff(sorted(levels))) > 0.1


def level(db: float) -> float:
    """The amplitude of a sine of this RMS level."""
    return float(10 ** (db / 20) * np.sqrt(2))


def at_levels(vocals_db: float, instrumental_db: float) -> Stems:
    return Stems(vocals=sine(700, level(vocals_db)), instrumental=sine(100, level(instrumental_db)))


@pytest.mark.parametrize(
    ("vocals_db", "instrumental_db", "reason"),
    [
        (-30, -24.5, ""),  # quiet vocals are kept
        (-30, -25.5, "instrumental_too_quiet"),
        (-20.5, -25.5, "instrumental_too_quiet"),  # before the vocals are looked at
        (-10.5, -15, ""),
        (-9.5, -15, "vocals_too_loud"),
        (-15, -9.5, ""),
    ],
)
def test_the_filter_gets_each_level_in_its_place(vocals_db, instrumental_db, reason) -> None:
    clip = at_levels(vocals_db, instrumental_db)
    (row,) = encode([clip], encode_filter=LoudnessFilter())
    assert row["reason"] == reason
    assert row["status"] == ("dropped" if reason else "encoded")
    assert row["message"] == ""
    assert ("vocals_acoustic" in row) == (not reason)
    assert row["vocals_peak_rms_db"] == pytest.approx(vocals_db, abs=0.05)
    assert row["instrumental_peak_rms_db"] == pytest.approx(instrumental_db, abs=0.05)


def test_the_thresholds_are_those_of_the_recipe() -> None:
    clip = at_levels(-10, -30)
    looser = LoudnessFilter(min_instrumental_db=-31, max_vocals_above_db=20.5)
    assert encode([clip], encode_filter=looser)[0]["status"] == "encoded"
    stricter = replace(looser, max_vocals_above_db=19.5)
    assert encode([clip], encode_filter=stricter)[0]["reason"] == "vocals_too_loud"


def encode_among_good(
    bad: Stems,
    recipe: EncodeRecipe,
    *,
    known: Sequence[Stems] = (),
    encode_filter: LoudnessFilter = NO_FILTER,
) -> tuple[dict, list[int]]:
    """Returns the row of a clip between two good ones of its batch, and the separator's batches.

    The good ones are checked to have the codes of their own.
    """
    good = song(2)
    models = telling_models([*good, *known])
    rows = encode(
        [good[0], bad, good[1]],
        replace(recipe, batch_clips=3),
        models=models,
        encode_filter=encode_filter,
    )
    assert [row["status"] for row in (rows[0], rows[2])] == ["encoded"] * 2
    for number, clip in ((0, good[0]), (2, good[1])):
        assert_codes(rows[number], clip, clip_name(number))
    return rows[1], models.separator.batches


def test_a_dropped_clip_leaves_the_codes_of_the_others_alone() -> None:
    bad = at_levels(-15, -40)
    row, batches = encode_among_good(bad, RECIPE, known=[bad], encode_filter=LoudnessFilter())
    assert (row["status"], row["reason"]) == ("dropped", "instrumental_too_quiet")
    assert batches == [3]
    assert not [name for name in row if name.endswith(("acoustic", "semantic"))]


@pytest.mark.parametrize(
    ("value", "reason", "message"),
    [
        (np.nan, "non_finite", "NaN or infinite"),
        (np.inf, "non_finite", "NaN or infinite"),
        (-np.inf, "non_finite", "NaN or infinite"),
        (32.1, "out_of_range", "largest sample is 32.1, full scale is 1"),
        (-32.1, "out_of_range", "largest sample is 32.1, full scale is 1"),
    ],
)
def test_a_bad_sample_costs_its_clip_before_it_is_separated(value, reason, message) -> None:
    bad = Stems(np.zeros(SAMPLES, np.float32), np.zeros(SAMPLES, np.float32))
    bad.instrumental[77] = value
    row, batches = encode_among_good(bad, RECIPE)
    assert (row["status"], row["reason"]) == ("failed", reason)
    assert message in row["message"]
    assert batches == [2]
    assert not [name for name in row if name.endswith(("acoustic", "semantic", "db"))]


def test_the_largest_allowed_sample_is_encoded() -> None:
    clip = Stems(np.zeros(SAMPLES, np.float32), np.zeros(SAMPLES, np.float32))
    clip.instrumental[77] = 32.0
    assert encode([clip])[0]["status"] == "encoded"


class _AsMixed(Stems):
    """A clip whose mix is not the sum of its stems."""

    @property
    def mix(self) -> np.ndarray:
        return self.instrumental


def wrong(change: Callable[[np.ndarray], np.ndarray]) -> tuple[_AsMixed, Stems]:
    """Returns a clip with vocals that were changed after they were mixed, and the right clip."""
    right = Stems(vocals=voice(), instrumental=sine(100, 0.2))
    return _AsMixed(vocals=change(right.vocals), instrumental=right.mix), right


def voice() -> np.ndarray:
    """A sweep, so that no shift of it looks like it."""
    seconds = np.arange(SAMPLES) / RATE
    return (0.3 * np.sin(2 * np.pi * (300 * seconds + 4000 * seconds**2))).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vocals: np.roll(vocals, round(0.03 * RATE)), "ms late"),
        (lambda vocals: -vocals, "inverted"),
        (lambda vocals: np.float32(-3) * vocals, "inverted"),
        (lambda vocals: np.float32(3) * vocals, "too loud"),
        (
            lambda vocals: np.random.default_rng(0).normal(0, 0.3, SAMPLES).astype(np.float32),
            "not those of this mix",
        ),
    ],
)
def test_vocals_that_are_not_those_of_the_mix_cost_their_clip(change, message) -> None:
    bad, right = wrong(change)
    assert encode([right])[0]["status"] == "encoded"
    row, batches = encode_among_good(bad, RECIPE, known=[bad])
    assert (row["status"], row["reason"]) == ("failed", "bad_separation")
    assert message in row["message"]
    assert batches == [3]
    assert not [name for name in row if name.endswith(("acoustic", "semantic"))]
    for name in ("vocals_lag_ms", "vocals_gain_in_mix", "vocals_peak_rms_db"):
        assert np.isfinite(row[name])


def test_the_limits_of_the_separation_are_those_of_the_recipe() -> None:
    bad, _ = wrong(lambda vocals: np.roll(vocals, round(0.03 * RATE)))
    lifted = replace(RECIPE, separation=NO_SEPARATION_LIMITS)
    (row,) = encode([bad], lifted)
    assert row["status"] == "encoded"
    assert row["vocals_lag_ms"] == pytest.approx(30, abs=0.5)


def test_the_figures_of_a_clip_are_stored() -> None:
    clip = Stems(vocals=sine(500, 0.1), instrumental=sine(100, 0.2) + np.float32(0.05))
    clip.instrumental[1000:1010] = 1.5
    (row,) = encode([clip])
    assert row["mix_dc_offset"] == pytest.approx(clip.mix.mean(), abs=1e-6)
    assert row["mix_clipped_fraction"] == pytest.approx(10 / SAMPLES)
    assert row["mix_bandwidth_hz"] > 10000
    assert row["vocals_active_fraction"] == 1
    assert abs(row["vocals_lag_ms"]) < 2.1  # a period of the tone
    assert row["vocals_gain_in_mix"] >= 0.95
    assert row["vocals_excess_fraction"] < 0.05
    assert row["vocals_above_mix_db"] <= 0


def test_an_offset_is_stored_and_is_not_loud() -> None:
    silence = Stems(np.zeros(SAMPLES, np.float32), np.full(SAMPLES, 0.2, np.float32))
    (row,) = encode([silence], encode_filter=LoudnessFilter())
    assert (row["status"], row["reason"]) == ("dropped", "instrumental_too_quiet")
    assert row["mix_dc_offset"] == pytest.approx(0.2)
    for sound in ("mix", "vocals", "instrumental"):
        assert row[f"{sound}_peak_rms_db"] < -100


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_vocals_that_are_not_numbers_cost_their_clip(value: float) -> None:
    vocals = sine(500, 0.1)
    vocals[99] = value
    bad = _AsMixed(vocals=vocals, instrumental=sine(100, 0.3))
    row, batches = encode_among_good(bad, RECIPE, known=[bad])
    assert (row["status"], row["reason"]) == ("failed", "non_finite")
    assert "the separator's vocals" in row["message"]
    assert batches == [3]
    assert "vocals_peak_rms_db" not in row
    assert row["mix_peak_rms_db"] == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.05)


def test_models_hear_no_denormal_numbers_and_all_others_to_the_last_bit() -> None:
    heard: list[np.ndarray] = []

    class Listening(KnownSeparator):
        def separate_vocals(self, mix: np.ndarray) -> np.ndarray:
            heard.append(mix.copy())
            return np.full_like(mix, 1e-40)

    mix = sine(100, 0.3)
    mix[1000:3000] = np.random.default_rng(0).uniform(-1e-38, 1e-38, 2000)
    mix[4000:4003] = 1e-26, -2e-25, 3e-20
    models = replace(telling_models([]), separator=Listening([]))
    clip = Stems(vocals=np.zeros(SAMPLES, np.float32), instrumental=mix)
    given = mix.copy()
    encode([clip], models=models)
    want = np.where(np.abs(mix) < 1e-25, np.float32(0), mix)
    assert np.count_nonzero(want != mix) > 1900
    assert heard[0][0].tobytes() == want.tobytes()
    assert mix.tobytes() == given.tobytes()
    assert not models.acoustic.heard[0].any()


def test_a_batch_of_bad_clips_alone_asks_no_model() -> None:
    bad = Stems(np.full(SAMPLES, np.nan, np.float32), np.zeros(SAMPLES, np.float32))
    models = telling_models([])
    rows = encode([bad, bad], replace(RECIPE, batch_clips=2), models=models)
    assert [row["reason"] for row in rows] == ["non_finite"] * 2
    assert models.separator.batches == []
    assert models.acoustic.heard == []
