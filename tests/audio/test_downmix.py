"""The mono mix, against ffmpeg's own downmix and against the mean."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from singsong.audio.downmix import LOW_FREQUENCY, mix_to_mono, mono_weights, stereo_weights
from tests.support import audio_files as files

LAYOUTS = {"3.0": 0x7, "quad": 0x33, "5.0": 0x37, "5.1": 0x3F, "5.1(side)": 0x60F, "7.1": 0x63F}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_those_of_itu_as_ffmpeg_has_them(tmp_path: Path, layout: str) -> None:
    mask = LAYOUTS[layout]
    audio = files.music(0.2, channels=mask.bit_count())
    mono = mix_to_mono(audio.T, mono_weights(len(audio), mask))
    sides = [mix_to_mono(audio.T, side) for side in stereo_weights(len(audio), mask)]
    raw = ("-f", "f32le", "-ar", "44100", "-channel_layout", layout, "-i", "pipe:0")
    stereo = files.run_ffmpeg(
        *raw,
        *("-af", "aresample=out_chlayout=stereo:rematrix_maxval=1000", "-f", "f32le", "pipe:1"),
        stdin=audio.T.astype("<f4").tobytes(),
    )
    theirs = np.frombuffer(stereo, "<f4").reshape(-1, 2)
    np.testing.assert_allclose(mono, theirs.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(sides, theirs.T, atol=1e-5)


@given(channels=st.integers(1, 40))
def test_unknown_positions_give_the_mean(channels: int) -> None:
    assert mono_weights(channels, 0) == (1 / channels,) * channels
    assert mono_weights(channels, (1 << channels + 1) - 1)[0] in (1 / channels, 0.5)


@given(mask=st.integers(1, (1 << 41) - 1), channels=st.integers(1, 12))
def test_mean_of_the_stereo_weights_is_the_mono_weight(mask: int, channels: int) -> None:
    for count in (channels, mask.bit_count()):
        left, right = stereo_weights(count, mask)
        np.testing.assert_allclose(np.add(left, right) / 2, mono_weights(count, mask), rtol=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_stereo_without_positions(channels: int) -> None:
    frames = files.music(0.1, channels=channels).T
    left, right = (mix_to_mono(frames, side) for side in stereo_weights(channels, 0))
    if channels == 2:
        np.testing.assert_array_equal(np.stack([left, right], axis=1), frames)
    else:
        np.testing.assert_array_equal(left, mix_to_mono(frames, mono_weights(channels, 0)))
        np.testing.assert_array_equal(left, right)


def test_channel_of_the_other_side_spoils_nothing() -> None:
    frames = np.array([[0.25, np.nan]], np.float32)
    assert mix_to_mono(frames, stereo_weights(2, 3)[0]).tolist() == [0.25]


@pytest.mark.parametrize("mask", [0x3F, 0x63F, 0xF, 0x800000003])
def test_low_frequencies_are_left_out(mask: int) -> None:
    bits = [1 << shift for shift in range(40) if mask >> shift & 1]
    weights = dict(zip(bits, mono_weights(len(bits), mask), strict=True))
    assert weights[LOW_FREQUENCY if mask & LOW_FREQUENCY else 1 << 35] == 0
    assert weights[1] == weights[2] == 0.5


def test_channel_that_is_left_out_spoils_nothing() -> None:
    frames = np.zeros((4, 6), np.float32)
    frames[:, 3] = np.nan
    assert not mix_to_mono(frames, mono_weights(6, 0x3F)).any()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_mean_is_computed_in_double_precision(channels: int) -> None:
    frames = files.music(0.1, channels=channels).T
    expected = frames.astype(np.float64).mean(axis=1)
    mono = mix_to_mono(frames, mono_weights(channels, 0))
    np.testing.assert_allclose(mono, expected, rtol=1e-7, atol=0)


def test_opposite_infinities_give_nan() -> None:
    frames = np.array([[np.inf, -np.inf]], np.float32)
    assert math.isnan(mix_to_mono(frames, (0.5, 0.5))[0])
