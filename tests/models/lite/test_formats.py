"""What each format restores, and that weights of each format are read as such."""

import numpy as np
import pytest
import torch

from singsong.models.lite.envelope import (
    BANDS,
    COEFFICIENTS,
    band_levels_db,
    band_powers,
    fill_amplitudes,
    mean_power,
    outlines,
)
from singsong.models.lite.formats import (
    FORMATS,
    LEVEL_WEIGHT,
    MAX_GAIN,
    NEWEST,
    fill,
    format_of,
    restore,
)
from tests.support.lite_models import normal

EVEN = torch.ones(COEFFICIENTS)
SLOPED = normal(40, COEFFICIENTS) * torch.logspace(-1, -4, COEFFICIENTS)
"""Frames of which each band is some dB quieter than the one below."""
SIGNS = torch.sign(normal(40, COEFFICIENTS, seed=1))
OUTLINES = outlines(SLOPED, level_weight=LEVEL_WEIGHT)


def restored(frames: torch.Tensor, outline: torch.Tensor = OUTLINES) -> torch.Tensor:
    return restore(frames, outline, profile=EVEN, noise=SIGNS[: len(frames)])


@pytest.mark.parametrize("gain", [0.0, 0.1, 0.7, 1.0, 1.5])
def test_every_frame_gets_the_level_of_its_outline(gain):
    lost = gain * SLOPED * (normal(40, COEFFICIENTS, seed=2) > 0)
    signal = restore(lost, OUTLINES, profile=EVEN, noise=torch.zeros_like(lost))
    noise = restored(lost) - signal
    power = mean_power(band_powers(signal)) + mean_power(band_powers(noise))
    np.testing.assert_allclose(power, mean_power(band_powers(SLOPED)), rtol=1e-3)


def test_without_shapes_each_band_has_about_the_level_of_its_envelope():
    found = band_levels_db(restored(torch.zeros_like(SLOPED)))
    np.testing.assert_allclose(found, band_levels_db(SLOPED), atol=1)


def test_shapes_that_are_short_of_their_level_get_a_gain_and_no_noise_in_loud_bands():
    loud = torch.zeros(40, COEFFICIENTS)
    loud[:, :2] = 1.0
    outline = outlines(loud, level_weight=LEVEL_WEIGHT)
    found = restored(0.8 * loud, outline)
    np.testing.assert_allclose(found[:, :2], 1, rtol=2e-2)
    assert float(found[:, 2:].abs().max()) < 1e-3


def test_the_gain_has_a_limit_and_noise_supplies_the_rest():
    faint = torch.zeros(40, COEFFICIENTS)
    faint[:, :2] = 0.1
    outline = outlines(faint * 10, level_weight=LEVEL_WEIGHT)
    found = restored(faint, outline)
    without = restore(faint, outline, profile=EVEN, noise=torch.zeros_like(faint))
    np.testing.assert_allclose(without[:, :2], 0.1 * MAX_GAIN, rtol=1e-5)
    np.testing.assert_allclose(
        mean_power(band_powers(found - without) + band_powers(without)),
        mean_power(band_powers(faint * 10)),
        rtol=1e-3,
    )


def test_what_spilt_into_a_quiet_band_is_turned_down_to_its_envelope():
    quiet = torch.full((40, COEFFICIENTS), 0.1)
    quiet[:, -59:] = 1e-4  # the last band, 60 dB below the others
    spilt = quiet.clone()
    spilt[:, -59:] = 1e-2
    found = restored(spilt, outlines(quiet, level_weight=LEVEL_WEIGHT))
    np.testing.assert_allclose(found[:, -59:], 1e-4, rtol=2e-3)
    np.testing.assert_allclose(found[:, :-59], 0.1, rtol=2e-3)


def test_a_loud_band_keeps_what_its_envelope_does_not_have():
    falling = torch.logspace(-1, -4, COEFFICIENTS).expand(40, -1)
    outline = outlines(falling, level_weight=LEVEL_WEIGHT)
    outline[:, 0] -= 12
    np.testing.assert_allclose(restored(falling, outline)[:, :2], falling[:, :2], rtol=0.01)


def test_silence_stays_silence():
    nothing = torch.zeros(40, COEFFICIENTS)
    outline = outlines(nothing, level_weight=LEVEL_WEIGHT).to(torch.float16).to(torch.float32)
    assert float(restored(nothing, outline).abs().max()) < 1e-6


def test_the_first_format_only_fills():
    outline = outlines(SLOPED, level_weight=3.0)
    wanted = fill_amplitudes(0.5 * SLOPED, outline, profile=EVEN, share=0.6, ceiling=0.06)
    found = fill(0.5 * SLOPED, outline, profile=EVEN, noise=SIGNS)
    assert torch.equal(found, 0.5 * SLOPED + wanted * SIGNS)


def test_tensors_without_a_format_are_of_the_first():
    assert format_of({}) is FORMATS[1]
    assert format_of({"format": torch.tensor(NEWEST)}) is FORMATS[2]
    with pytest.raises(ValueError, match=r"format must be one of \[1, 2\], found 3"):
        format_of({"format": torch.tensor(3)})


def test_formats_have_other_outlines():
    one, two = (outlines(SLOPED, level_weight=FORMATS[number].level_weight) for number in (1, 2))
    assert torch.equal(one[:, :BANDS], two[:, :BANDS])
    np.testing.assert_allclose(two[:, BANDS] / one[:, BANDS], 20 / 3, rtol=1e-5)
