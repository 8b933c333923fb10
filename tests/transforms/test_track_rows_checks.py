"""Levels, the filter, the sum check and clips that fail, each against figures taken by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from singsong.schemas.recipe import EncodeRecipe, LoudnessFilter, LoudnessWindow
from tests.support.stems import RATE, RECIPE, SAMPLES, Stems, sine, song, telling_models
from tests.transforms.test_track_rows import assert_codes, clip_name, encode

PAPER_FILTER = LoudnessFilter()
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
            assert row[f"{source}_peak_rms_db"] == pytest.approx(want, abs=1e-3), source


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
    (row,) = encode([at_levels(vocals_db, instrumental_db)], encode_filter=PAPER_FILTER)
    assert row["reason"] == reason
    assert row["status"] == ("dropped" if reason else "encoded")
    assert row["message"] == ""
    assert ("vocals_acoustic" in row) == (not reason)
    assert row["vocals_peak_rms_db"] == pytest.approx(vocals_db, abs=0.05)
    assert row["instrumental_peak_rms_db"] == pytest.approx(instrumental_db, abs=0.05)
    assert row["sum_error"] <= 1e-6


def test_the_thresholds_are_those_of_the_recipe() -> None:
    clip = at_levels(-10, -30)
    looser = LoudnessFilter(min_instrumental_db=-31, max_vocals_above_db=20.5)
    assert encode([clip], encode_filter=looser)[0]["status"] == "encoded"
    stricter = replace(looser, max_vocals_above_db=19.5)
    assert encode([clip], encode_filter=stricter)[0]["reason"] == "vocals_too_loud"


def encode_among_good(
    bad: Stems, recipe: EncodeRecipe, *, known: Sequence[Stems] = (), **how: Any
) -> tuple[dict, list[int]]:
    """Returns the row of a clip between two good ones of its batch, and the separator's batches.

    The good ones are checked to have the codes of their own.
    """
    good = song(2)
    models = telling_models([*good, *known])
    rows = encode([good[0], bad, good[1]], replace(recipe, batch_clips=3), models=models, **how)
    assert [row["status"] for row in (rows[0], rows[2])] == ["encoded"] * 2
    for number, clip in ((0, good[0]), (2, good[1])):
        assert_codes(rows[number], clip, clip_name(number))
    return rows[1], models.separator.batches


def test_a_dropped_clip_leaves_the_codes_of_the_others_alone() -> None:
    bad = at_levels(-15, -40)
    row, batches = encode_among_good(bad, RECIPE, known=[bad], encode_filter=PAPER_FILTER)
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
    """A clip whose mix is not the float32 sum of its stems."""

    @property
    def mix(self) -> np.ndarray:
        return self.instrumental


def rounded(error: float, *, vocals: float, peak: float) -> _AsMixed:
    """A clip whose stems miss the mix by `error`.

    mix - vocals is rounded to float32: beside vocals this large, the mix of that sample is lost.
    """
    mix, estimate = np.zeros(SAMPLES, np.float32), np.zeros(SAMPLES, np.float32)
    mix[10], mix[20], estimate[20] = peak, error, vocals
    return _AsMixed(vocals=estimate, instrumental=mix)


@pytest.mark.parametrize(
    ("error", "vocals", "peak", "passes"),
    [
        (0.99e-6, 48, 0, True),
        (1.01e-6, 48, 0, False),
        (1.01e-6, 48, 0.5, False),  # a quiet mix is allowed no less and no more
        (0.99e-6, 48, 0.5, True),
        (3.9e-6, 192, -4, True),  # a mix over full scale is allowed as much more
        (4.1e-6, 192, -4, False),
    ],
)
def test_the_stems_must_add_up_to_the_mix(error, vocals, peak, passes) -> None:
    clip = rounded(error, vocals=vocals, peak=peak)
    (row,) = encode([clip])
    if passes:
        assert row["status"] == "encoded"
        assert row["sum_error"] == pytest.approx(error, rel=1e-3)
    else:
        limit = max(1, abs(peak)) * 1e-6
        assert (row["status"], row["reason"]) == ("failed", "sum_mismatch")
        assert f"by {error:.3g}, over {limit:.3g}" in row["message"]


def test_vocals_that_are_not_numbers_cost_their_clip() -> None:
    bad = _AsMixed(vocals=np.full(SAMPLES, np.nan, np.float32), instrumental=sine(100, 0.3))
    row, batches = encode_among_good(bad, RECIPE, known=[bad])
    assert (row["status"], row["reason"]) == ("failed", "sum_mismatch")
    assert batches == [3]
    assert "vocals_peak_rms_db" not in row
    assert row["mix_peak_rms_db"] == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.05)


def test_a_batch_of_bad_clips_alone_asks_no_model() -> None:
    bad = Stems(np.full(SAMPLES, np.nan, np.float32), np.zeros(SAMPLES, np.float32))
    models = telling_models([])
    rows = encode([bad, bad], replace(RECIPE, batch_clips=2), models=models)
    assert [row["reason"] for row in rows] == ["non_finite"] * 2
    assert models.separator.batches == []
    assert models.acoustic.heard == []
