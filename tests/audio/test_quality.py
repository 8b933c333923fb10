"""Quality figures against closed forms and scipy."""

import numpy as np
import pytest
from scipy import signal, stats

from singsong.audio.quality import (
    entropy_bits,
    level_error_db,
    log_spectral_distance_db,
    perplexity,
    si_sdr_db,
    snr_db,
)


def noise(samples: int = 16000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * 0.1


@pytest.mark.parametrize("wanted_db", [-10, 0, 30])
def test_snr_is_the_ratio_of_the_powers_mixed(wanted_db):
    clip, error = noise(), noise(seed=1)
    error *= np.sqrt(np.sum(clip**2) / np.sum(error**2)) * np.float32(10 ** (-wanted_db / 20))
    assert snr_db(clip, clip + error) == pytest.approx(wanted_db, abs=1e-3)


def test_snr_of_the_same_is_infinite():
    assert snr_db(noise(), noise()) == np.inf


@pytest.mark.parametrize("gain", [0.1, 1, -7])
def test_si_sdr_is_the_ratio_of_orthogonal_parts_at_any_gain(gain):
    clip, error = noise().astype(np.float64), noise(seed=1).astype(np.float64)
    error -= clip * (error @ clip) / (clip @ clip)
    error *= np.sqrt(clip @ clip / (error @ error)) * 10 ** (-12 / 20)
    estimate = (gain * (clip + error)).astype(np.float32)
    assert si_sdr_db(noise(), estimate) == pytest.approx(12, abs=1e-3)


def test_si_sdr_of_a_gain_is_endless_and_of_nothing_common_is_none():
    clip = np.array([1, 0], np.float32)
    assert si_sdr_db(clip, 2 * clip) == np.inf
    assert si_sdr_db(clip, clip[::-1]) == -np.inf


@pytest.mark.parametrize("wanted_db", [-20, 0, 3])
def test_a_gain_is_a_level_error_of_as_many_db(wanted_db):
    louder = noise() * np.float32(10 ** (wanted_db / 20))
    assert level_error_db(noise(), louder) == pytest.approx(wanted_db, abs=1e-4)


def test_levels_of_silence_are_refused():
    silence = np.zeros(16000, np.float32)
    with pytest.raises(ValueError, match="reference must not be silent"):
        si_sdr_db(silence, noise())
    for pair in ((silence, noise()), (noise(), silence)):
        with pytest.raises(ValueError, match="neither clip may be silent"):
            level_error_db(*pair)


def test_a_gain_is_a_log_spectral_distance_of_as_many_db():
    assert log_spectral_distance_db(noise(), noise() / 2) == pytest.approx(6.02, abs=0.01)


def test_log_spectral_distance_is_scipys():
    one, other = noise(), noise(seed=1)
    spectra = [
        signal.spectrogram(
            clip, window="hann", nperseg=512, noverlap=384, mode="complex", detrend=False,
            scaling="density", fs=1.0,
        )[2]
        for clip in (one, other)
    ]  # fmt: skip
    difference = 20 * np.log10(np.abs(spectra[0])) - 20 * np.log10(np.abs(spectra[1]))
    expected = np.sqrt((difference**2).mean(axis=0)).mean()
    assert log_spectral_distance_db(one, other) == pytest.approx(expected, abs=0.01)


def test_both_silent_is_no_distance():
    silence = np.zeros(2000, np.float32)
    assert log_spectral_distance_db(silence, silence) == 0


def test_entropy_is_scipys():
    codes = np.random.default_rng(0).geometric(0.1, 5000).clip(max=1023)
    expected = stats.entropy(np.bincount(codes), base=2)
    assert entropy_bits(codes, codebook_size=1024) == pytest.approx(expected)
    assert perplexity(codes, codebook_size=1024) == pytest.approx(2**expected)


def test_even_use_is_full_perplexity():
    codes = np.repeat(np.arange(1024, dtype=np.uint16), 3).reshape(3, -1)
    assert perplexity(codes, codebook_size=1024) == pytest.approx(1024)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"one length, found \(3,\) and \(4,\)"):
        snr_db(noise(3), noise(4))
    with pytest.raises(ValueError, match="must not be silent"):
        snr_db(np.zeros(3, np.float32), noise(3))
    with pytest.raises(ValueError, match="at least 512 samples, found 100"):
        log_spectral_distance_db(noise(100), noise(100))
    with pytest.raises(ValueError, match="found none"):
        entropy_bits(np.zeros(0, np.int64), codebook_size=4)
