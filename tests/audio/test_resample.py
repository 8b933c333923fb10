"""Resampling: exact lengths, sine waves in their place, and blocks that do not matter."""

import math
from fractions import Fraction

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.audio.resample import resample, resample_blocks, resampled_samples

RATES_HZ = st.sampled_from([8000, 11025, 16000, 22050, 37123, 44100, 48000, 96000, 192000])


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, samples).astype(np.float32)


def in_blocks(audio: np.ndarray, cuts: list[int], from_hz: int, to_hz: int) -> np.ndarray:
    blocks = np.split(audio, sorted(cut % (len(audio) + 1) for cut in cuts))
    result = list(resample_blocks(blocks, from_hz=from_hz, to_hz=to_hz))
    assert all(block.size and block.dtype == np.float32 for block in result)
    return np.concatenate([np.zeros(0, np.float32), *result])


@given(samples=st.integers(0, 10**9), from_hz=RATES_HZ, to_hz=RATES_HZ)
def test_length_is_the_exact_ratio_rounded_half_up(samples: int, from_hz: int, to_hz: int) -> None:
    expected = math.floor(Fraction(samples * to_hz, from_hz) + Fraction(1, 2))
    assert resampled_samples(samples, from_hz=from_hz, to_hz=to_hz) == expected


@settings(deadline=None, max_examples=100)
@given(samples=st.integers(0, 5000), from_hz=RATES_HZ, to_hz=st.sampled_from([16000, 44100]))
def test_every_clip_has_the_stated_length(samples: int, from_hz: int, to_hz: int) -> None:
    result = resample(noise(samples), from_hz=from_hz, to_hz=to_hz)
    assert result.dtype == np.float32
    assert len(result) == resampled_samples(samples, from_hz=from_hz, to_hz=to_hz)
    reference = soxr.resample(noise(samples), from_hz, to_hz) if samples else result
    shared = min(len(reference), len(result))
    assert abs(len(reference) - len(result)) <= 1
    np.testing.assert_array_equal(result[:shared], reference[:shared])


@settings(deadline=None, max_examples=100)
@given(
    samples=st.integers(0, 30000),
    from_hz=RATES_HZ,
    to_hz=st.sampled_from([16000, 44100]),
    cuts=st.lists(st.integers(0, 30000), max_size=8),
    spoilt=st.lists(
        st.tuples(st.integers(0, 29999), st.sampled_from([np.nan, np.inf])), max_size=2
    ),
)
def test_stream_is_the_same_to_the_bit_however_it_is_cut(
    samples: int, from_hz: int, to_hz: int, cuts: list[int], spoilt: list[tuple[int, float]]
) -> None:
    audio = noise(samples)
    for at, value in spoilt:
        if samples:
            audio[at % samples] = value
    whole = in_blocks(audio, [], from_hz, to_hz)
    np.testing.assert_array_equal(in_blocks(audio, cuts, from_hz, to_hz), whole)
    assert len(whole) == resampled_samples(samples, from_hz=from_hz, to_hz=to_hz)
    if not spoilt:
        np.testing.assert_array_equal(whole, resample(audio, from_hz=from_hz, to_hz=to_hz))


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 16000), (8000, 44100), (192000, 44100)])
def test_sine_keeps_its_pitch_phase_and_level(from_hz: int, to_hz: int) -> None:
    def sine(rate_hz: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz).astype(np.float32)

    inner = slice(to_hz // 10, -to_hz // 10)  # the ends ring, because the sine starts from nothing
    result = resample(sine(from_hz), from_hz=from_hz, to_hz=to_hz)
    np.testing.assert_allclose(result[inner], sine(to_hz)[inner], atol=2e-5)


def test_what_the_new_rate_cannot_hold_is_gone() -> None:
    tone = np.sin(2 * np.pi * 12000 * np.arange(44100) / 44100).astype(np.float32)
    result = resample(tone, from_hz=44100, to_hz=16000)
    assert np.abs(result[1000:-1000]).max() < 1e-4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("from_hz", [8000, 48000, 192000])
def test_bad_sample_spoils_only_its_neighbourhood(from_hz: int, value: float) -> None:
    audio = noise(4 * from_hz)
    good = in_blocks(audio, [5000], from_hz, 44100)
    audio[2 * from_hz] = value
    bad = in_blocks(audio, [5000], from_hz, 44100)
    spoilt = np.flatnonzero(~np.isfinite(bad))
    assert not np.isfinite(bad[2 * 44100])
    assert np.abs(spoilt / 44100 - 2).max() < 0.1
    kept = np.isfinite(bad)
    np.testing.assert_array_equal(bad[kept], good[kept])


def test_rows_are_resampled_one_by_one_into_a_new_array() -> None:
    audio = noise(4410).reshape(2, 1, 2205)
    before = audio.copy()
    result = resample(audio, from_hz=44100, to_hz=16000)
    assert result.shape == (2, 1, 800)
    np.testing.assert_array_equal(result[1, 0], resample(audio[1, 0], from_hz=44100, to_hz=16000))
    same = resample(audio, from_hz=44100, to_hz=44100)
    same[:] = 0
    np.testing.assert_array_equal(audio, before)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 16000), (48000, 44100), (8000, 44100)])
def test_blocks_of_two_channels_are_two_streams(from_hz: int, to_hz: int) -> None:
    audio = np.stack([noise(30011), noise(30011, seed=1)], axis=1)
    blocks = np.split(audio, [1, 1, 4096, 20000])
    both = np.concatenate(list(resample_blocks(blocks, from_hz=from_hz, to_hz=to_hz)))
    for side in (0, 1):
        alone = in_blocks(audio[:, side], [700], from_hz, to_hz)
        np.testing.assert_array_equal(both[:, side], alone)


def test_no_clips_and_no_samples_are_no_error() -> None:
    assert resample(np.zeros((0, 441), np.float32), from_hz=44100, to_hz=16000).shape == (0, 160)
    assert resample(np.zeros((3, 0), np.float32), from_hz=44100, to_hz=16000).shape == (3, 0)
    assert list(resample_blocks([], from_hz=44100, to_hz=16000)) == []
    assert list(resample_blocks([np.zeros(0, np.float32)], from_hz=16000, to_hz=16000)) == []


@pytest.mark.parametrize(("from_hz", "to_hz"), [(0, 16000), (44100, 0), (-1, 1)])
def test_rates_must_be_positive(from_hz: int, to_hz: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        resample(noise(10), from_hz=from_hz, to_hz=to_hz)
    with pytest.raises(ValueError, match="must be positive"):
        next(resample_blocks([noise(10)], from_hz=from_hz, to_hz=to_hz))
