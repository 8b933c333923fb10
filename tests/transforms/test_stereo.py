"""A recipe in stereo: the separator hears both channels, all that follows hears their mean."""

from dataclasses import replace

import numpy as np
import pytest

from singsong.models.bundle import Models
from singsong.schemas.arrays import FloatArray
from singsong.schemas.recipe import EncodeRecipe
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_rows import TrackRows
from tests.support.stems import RATE, RECIPE, SAMPLES, TellingCodec, TellingEncoder, sine

STEREO = replace(RECIPE, stereo=True)


class LeftSeparator:
    """Takes a part of the left channel for the left vocals, and nothing on the right."""

    sample_rate_hz = RATE
    weights_sha256 = "0" * 64

    def __init__(self) -> None:
        self.given: list[FloatArray] = []

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        raise AssertionError("the recipe is in stereo")

    def separate_stereo(self, mix: FloatArray) -> FloatArray:
        self.given.append(mix)
        return mix * np.array([0.5, 0], np.float32)[:, None]


def rows_of(audio: FloatArray, *, recipe: EncodeRecipe = STEREO) -> tuple[list, Models]:
    models = Models(acoustic=TellingCodec(), semantic=TellingEncoder(), separator=LeftSeparator())
    job = TrackRows(track_id="a" * 64, recipe=recipe, models=models, watch=Stopwatch())
    return list(job.rows(np.array_split(audio, 7))), models


def two_channels(clips: int = 1) -> FloatArray:
    """Returns float32 [samples, 2]: another tone in each channel."""
    left, right = sine(440, 0.4, samples=clips * SAMPLES), sine(150, 0.2, samples=clips * SAMPLES)
    return np.stack([left, right], axis=1)


def test_the_separator_gets_both_channels_of_each_clip() -> None:
    audio = two_channels(3)
    _, models = rows_of(audio, recipe=replace(STEREO, batch_clips=3))
    (given,) = models.separator.given
    assert given.shape == (3, 2, SAMPLES)
    np.testing.assert_array_equal(given.transpose(0, 2, 1).reshape(-1, 2), audio)


def test_what_is_measured_and_encoded_is_the_mean_of_the_channels() -> None:
    (row,), _ = rows_of(two_channels())
    level = lambda amplitude: 20 * np.log10(amplitude / np.sqrt(2))  # noqa: E731
    assert row.figures["vocals_peak_rms_db"] == pytest.approx(level(0.4 / 2 / 2), abs=0.1)
    assert row.figures["mix_peak_rms_db"] == pytest.approx(level(np.hypot(0.4, 0.2) / 2), abs=0.15)
    # TellingCodec's first code is 15,000 times the level of a frame.
    assert row.codes["vocals_acoustic"][1, 0] == pytest.approx(15000 * 0.1 / np.sqrt(2), rel=0.02)
    rest = np.hypot(0.1, 0.1)  # left 0.4 less 0.2, and right 0.2, halved
    instrumental = row.codes["instrumental_acoustic"][:, 0].astype(float)
    level_of_all = np.sqrt(np.mean(instrumental**2)) / 15000
    assert level_of_all == pytest.approx(rest / np.sqrt(2), rel=0.03)


def test_the_mix_has_the_figures_and_the_fingerprint_of_the_recipe_in_mono() -> None:
    """At the rate of the mix; another rate is converted before the mean, not after it."""
    audio = two_channels()
    mono = TrackRows(
        track_id="a" * 64,
        recipe=replace(RECIPE, separator=None),
        models=Models(acoustic=TellingCodec(), semantic=TellingEncoder(), separator=None),
        watch=Stopwatch(),
    )
    (of_mono,) = mono.rows([audio.mean(axis=1, dtype=np.float64).astype(np.float32)])
    stereo = TrackRows(
        track_id="a" * 64,
        recipe=STEREO,
        models=Models(
            acoustic=TellingCodec(), semantic=TellingEncoder(), separator=LeftSeparator()
        ),
        watch=Stopwatch(),
    )
    (of_stereo,) = stereo.rows([audio])
    of_mix = {name: value for name, value in of_stereo.figures.items() if name.startswith("mix")}
    assert of_mix == of_mono.figures
    assert stereo.facts().audio_sha256 == mono.facts().audio_sha256
    assert stereo.facts().samples == SAMPLES


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "non_finite"), (np.inf, "non_finite"), (40, "out_of_range")]
)
def test_one_bad_channel_costs_the_clip_and_no_other(value: float, reason: str) -> None:
    audio = two_channels(2)
    audio[100] = value, -value
    rows, models = rows_of(audio)
    assert [row.reason for row in rows] == [reason, None]
    assert [len(given) for given in models.separator.given] == [1]
