"""The MDCT against its defining sum, and its inverse against the identity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from singsong.models.lite.mdct import imdct, mdct


def direct_mdct(audio: np.ndarray, hop: int) -> np.ndarray:
    """The textbook sum over 2 hops, with step windows at the ends of the clip."""
    frames = -(-len(audio) // hop)
    padded = np.zeros((frames + 1) * hop)
    padded[hop // 2 : hop // 2 + len(audio)] = audio
    n, k = np.arange(2 * hop), np.arange(hop)[:, None]
    basis = np.sqrt(2 / hop) * np.cos(np.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5))
    result = np.zeros((frames, hop))
    for frame in range(frames):
        window = np.sin(np.pi * (n + 0.5) / (2 * hop))
        if frame == 0:
            window[:hop] = n[:hop] >= hop // 2
        if frame == frames - 1:
            window[hop:] = n[:hop] < hop // 2
        result[frame] = basis @ (window * padded[frame * hop : frame * hop + 2 * hop])
    return result


def clip(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


@pytest.mark.parametrize(("samples", "hop"), [(1, 2), (64, 16), (100, 16), (1600, 320)])
def test_mdct_is_the_defining_sum(samples, hop):
    audio = clip(samples)
    np.testing.assert_allclose(mdct(audio, hop=hop), direct_mdct(audio, hop), atol=2e-5)


@settings(deadline=None, max_examples=30)
@given(samples=st.integers(1, 4000), half=st.integers(1, 200), seed=st.integers(0, 2**32 - 1))
def test_the_inverse_gives_the_clip_back(samples, half, seed):
    audio = clip(samples, seed)
    frames = mdct(audio, hop=2 * half)
    back = imdct(frames)
    assert back.shape == (len(frames) * 2 * half,)
    np.testing.assert_allclose(back[:samples], audio, atol=1e-4)
    np.testing.assert_allclose(back[samples:], 0, atol=1e-4)


def test_energy_in_time_is_energy_in_frequency():
    audio = clip(3200)
    assert np.sum(mdct(audio, hop=320) ** 2) == pytest.approx(np.sum(audio**2), rel=1e-5)


def test_a_frame_stands_over_its_own_samples():
    audio = np.zeros(3200, np.float32)
    audio[4 * 320 + 160] = 1
    energy = np.sum(mdct(audio, hop=320) ** 2, axis=1)
    assert np.argmax(energy) == 4
    assert energy[4] > 0.99


@pytest.mark.parametrize("hop", [0, -2, 3])
def test_a_wrong_hop_is_refused(hop):
    with pytest.raises(ValueError, match=f"even number, found {hop}"):
        mdct(clip(10), hop=hop)


@pytest.mark.parametrize("shape", [(0,), (2, 5)])
def test_anything_but_a_clip_is_refused(shape):
    with pytest.raises(ValueError, match="audio must be"):
        mdct(np.zeros(shape, np.float32), hop=2)


def test_anything_but_frames_is_refused():
    with pytest.raises(ValueError, match="frames must be"):
        imdct(np.zeros((0, 4), np.float32))
    with pytest.raises(ValueError, match="even number, found 3"):
        imdct(np.zeros((2, 3), np.float32))
