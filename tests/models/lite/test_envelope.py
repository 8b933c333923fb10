"""Envelopes against loops over their bands."""

import itertools

import numpy as np
import pytest
import torch

from singsong.models.lite.envelope import (
    BAND_EDGES,
    BANDS,
    COEFFICIENTS,
    FLOOR_DB,
    band_levels_db,
    band_powers,
    band_profile,
    fill_amplitudes,
    outlines,
    scales,
    spread,
)

EVEN = torch.ones(COEFFICIENTS)
NOTHING = torch.zeros(1, COEFFICIENTS)


def frames(count: int = 5) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((count, COEFFICIENTS)).astype(np.float32))


def test_bands_cover_all_coefficients_and_widen():
    widths = np.diff(BAND_EDGES)
    assert BAND_EDGES[0] == 0
    assert widths.sum() == COEFFICIENTS
    assert (np.diff(widths) >= 0).all()


def test_powers_are_means_of_squares():
    data = frames()
    for band, (start, stop) in enumerate(itertools.pairwise(BAND_EDGES)):
        expected = (data[:, start:stop].numpy() ** 2).mean(axis=1)
        np.testing.assert_allclose(band_powers(data)[:, band], expected, rtol=1e-5)


def test_levels_stop_at_the_floor():
    assert (band_levels_db(frames() * 1e-9) == FLOOR_DB).all()


def test_spread_repeats_each_band_over_its_coefficients():
    values = torch.arange(float(BANDS))[None]
    expected = np.concatenate(
        [np.full(stop - start, band) for band, (start, stop) in
         enumerate(itertools.pairwise(BAND_EDGES))]
    )  # fmt: skip
    np.testing.assert_array_equal(spread(values)[0], expected)


def test_scales_without_whitening_are_the_root_mean_square():
    data = frames()
    expected = data.square().mean(1).sqrt()[:, None].expand(-1, COEFFICIENTS)
    np.testing.assert_allclose(
        scales(outlines(data, level_weight=3), whitening=0.0, level_weight=3), expected, rtol=1e-4
    )


def test_scales_with_full_whitening_are_the_envelope():
    data = frames()
    expected = spread(band_powers(data)).sqrt()
    np.testing.assert_allclose(
        scales(outlines(data, level_weight=3), whitening=1.0, level_weight=3), expected, rtol=1e-4
    )


def test_noise_brings_a_quiet_band_up_to_its_envelope():
    target = frames() * torch.linspace(1, 0.01, COEFFICIENTS)
    fill = fill_amplitudes(
        torch.zeros_like(target),
        outlines(target, level_weight=3),
        profile=EVEN,
        share=1.0,
        ceiling=99.0,
    )
    np.testing.assert_allclose(band_powers(fill), band_powers(target), rtol=1e-3)


def test_no_band_gets_more_noise_than_the_ceiling():
    levels = torch.full((1, BANDS + 1), -60.0)
    levels[0, 0] = 0.0
    fill = fill_amplitudes(NOTHING, levels, profile=EVEN, share=1.0, ceiling=0.01)
    mean = float((10 ** (spread(levels[:, :BANDS]) / 10)).mean())
    assert float(fill[0, 0]) ** 2 == pytest.approx(0.01 * mean, rel=1e-4)
    assert float(fill[0, -1]) == pytest.approx(1e-3, rel=1e-4)


def test_what_is_loud_enough_gets_no_noise():
    data = frames()
    assert not fill_amplitudes(
        2 * data, outlines(data, level_weight=3), profile=EVEN, share=1.0, ceiling=1.0
    ).any()


def test_the_profile_finds_a_slope_inside_a_band_and_evens_out_the_rest():
    slope = torch.ones(COEFFICIENTS)
    slope[300:] = 0.01
    levels = 10 ** torch.linspace(-3, 0, 2000)[:, None]
    profile = band_profile(frames(2000) * slope * levels)
    bands = [profile[start:stop] for start, stop in itertools.pairwise(BAND_EDGES)]
    np.testing.assert_allclose([float(band.mean()) for band in bands], 1, rtol=1e-4)
    assert float(profile[300:].mean() / profile[261:300].mean()) == pytest.approx(1e-4, rel=0.1)
    np.testing.assert_allclose(profile[:261], 1, atol=0.3)


def test_noise_follows_the_profile():
    slope = torch.linspace(0.5, 1.5, COEFFICIENTS)
    wanted = outlines(torch.full((1, COEFFICIENTS), 0.1), level_weight=3)
    fill = fill_amplitudes(NOTHING, wanted, profile=slope, share=1.0, ceiling=9)
    np.testing.assert_allclose(fill[0] ** 2, 0.01 * slope, rtol=1e-4)
