"""Clipping, bandwidth and offset of signals of which they are known."""

import numpy as np
import pytest

from singsong.audio.mix_facts import bandwidth_hz, clipped_fraction, measure_mix
from singsong.audio.resample import resample
from tests.support.real_audio import musdb_excerpt

RATE = 44100
SECONDS = np.arange(2 * RATE) / RATE


def rounded(audio: np.ndarray) -> np.ndarray:
    """The audio as a file of 16 bits gives it back."""
    return (np.rint(audio.clip(-1, 32767 / 32768) * 32768) / 32768).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 0.2, -0.7])
def test_the_offset_is_the_mean(offset: float) -> None:
    audio = (0.1 * np.sin(2 * np.pi * 100 * SECONDS) + offset).astype(np.float32)
    assert measure_mix(audio, sample_rate_hz=RATE).dc_offset == pytest.approx(offset, abs=1e-6)


@pytest.mark.parametrize("level", [1.2, 2.0, 10.0])
@pytest.mark.parametrize("later", [1.0, 0.7, 0.3])
def test_clipped_samples_are_counted_at_any_level(level: float, later: float) -> None:
    """A file that was clipped and then made quieter has its peaks in runs of equal samples."""
    plain = level * np.sin(2 * np.pi * 441 * SECONDS)
    audio = rounded(rounded(plain) * np.float32(later))
    want = np.mean(np.abs(plain) >= 1)
    assert clipped_fraction(audio) == pytest.approx(want, rel=0.05)


def test_samples_over_full_scale_are_clipped() -> None:
    audio = np.zeros(1000, np.float32)
    audio[10:15] = [1.5, -1.2, 1.0, -1.0, 0.999]
    assert clipped_fraction(audio) == 4 / 1000


@pytest.mark.parametrize("level", [0.99, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("hz", [97, 441, 5000])
def test_tones_and_noise_are_not_clipped(level: float, hz: float) -> None:
    assert clipped_fraction(rounded(level * np.sin(2 * np.pi * hz * SECONDS))) < 1e-3
    noise = np.random.default_rng(0).uniform(-level, level, RATE)
    assert clipped_fraction(rounded(noise)) < 1e-3


def test_real_music_is_hardly_clipped() -> None:
    excerpt = musdb_excerpt()
    assert clipped_fraction(excerpt["vocals"]) < 1e-4
    assert clipped_fraction((3 * excerpt["mix"]).clip(-1, 1)) > 0.01


@pytest.mark.parametrize("value", [0.0, 0.3, 0.8])
def test_a_constant_is_not_clipped(value: float) -> None:
    assert clipped_fraction(np.full(1000, value, np.float32)) == 0


def low_passed(cutoff_hz: float, level: float = 0.1) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(len(SECONDS))
    spectrum = np.fft.rfft(noise)
    spectrum[int(cutoff_hz * 2) :] = 0
    return (level * np.fft.irfft(spectrum, len(noise))).astype(np.float32)


@pytest.mark.parametrize("level", [0.1, 0.01])
@pytest.mark.parametrize("cutoff_hz", [3400, 8000, 11025, 16000, 19000])
def test_the_bandwidth_is_the_cutoff(cutoff_hz: float, level: float) -> None:
    audio = rounded(low_passed(cutoff_hz, level))
    assert bandwidth_hz(audio, sample_rate_hz=RATE) == pytest.approx(cutoff_hz, abs=150)
    loud_bass = audio + rounded(0.5 * np.sin(2 * np.pi * 60 * SECONDS))
    assert bandwidth_hz(loud_bass, sample_rate_hz=RATE) == pytest.approx(cutoff_hz, abs=150)


def test_the_bandwidth_of_upsampled_audio_is_that_of_before() -> None:
    audio = resample(low_passed(20000), from_hz=RATE, to_hz=16000)
    upsampled = resample(audio, from_hz=16000, to_hz=RATE)
    assert 7500 < bandwidth_hz(upsampled, sample_rate_hz=RATE) < 8700


def test_a_lossy_encoder_shows() -> None:
    assert 15000 < bandwidth_hz(musdb_excerpt()["mix"], sample_rate_hz=RATE) < 16500
    full = low_passed(22050)
    assert bandwidth_hz(full, sample_rate_hz=RATE) == pytest.approx(22050, abs=50)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_the_bandwidth_is_in_hertz_at_every_rate(rate: int) -> None:
    noise = np.random.default_rng(0).standard_normal(2 * rate).astype(np.float32) * 0.1
    assert bandwidth_hz(noise, sample_rate_hz=rate) == pytest.approx(rate / 2, rel=0.01)


def test_silence_a_pilot_tone_and_rounding_are_no_bandwidth() -> None:
    assert bandwidth_hz(np.zeros(RATE, np.float32), sample_rate_hz=RATE) == 0
    assert bandwidth_hz(np.full(RATE, 0.3, np.float32), sample_rate_hz=RATE) == 0
    quiet = rounded(0.01 * np.sin(2 * np.pi * 500 * SECONDS))
    assert bandwidth_hz(quiet, sample_rate_hz=RATE) < 1000
    pilot = low_passed(5000) + 0.001 * np.sin(2 * np.pi * 15625 * SECONDS).astype(np.float32)
    assert bandwidth_hz(pilot, sample_rate_hz=RATE) == pytest.approx(15625, abs=300)


@pytest.mark.parametrize("samples", [1, 10, 2047, 2048, 2049, 5000])
def test_clips_of_any_length_have_finite_figures(samples: int) -> None:
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)
    found = measure_mix(audio, sample_rate_hz=RATE)
    assert all(np.isfinite(value) for value in vars(found).values())
    assert 0 <= found.clipped_fraction <= 1
    assert 0 <= found.bandwidth_hz <= RATE / 2


def test_a_click_is_no_bandwidth() -> None:
    audio = low_passed(5000)
    audio[30000] = 1
    assert bandwidth_hz(audio, sample_rate_hz=RATE) == pytest.approx(5000, abs=150)
