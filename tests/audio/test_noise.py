import numpy as np
import pytest

from singsong.audio.noise import NOISE_RATE_HZ, add_noise
from singsong.audio.resample import resample
from singsong.schemas.seeds import generator

SILENCE = np.zeros(160000, np.float32)


def noise(sigma: float = 0.01, seed: int = 0, clip_id: str = "clip") -> np.ndarray:
    return add_noise(SILENCE, sample_rate_hz=NOISE_RATE_HZ, sigma=sigma, seed=seed, clip_id=clip_id)


def noise_at(rate_hz: int, samples: int, sigma: float = 0.01) -> np.ndarray:
    silence = np.zeros(samples, np.float32)
    return add_noise(silence, sample_rate_hz=rate_hz, sigma=sigma, seed=0, clip_id="clip")


def test_noise_is_white_gaussian_at_minus_forty_db() -> None:
    z = noise().astype(np.float64)
    assert 10 * np.log10(np.mean(z**2)) == pytest.approx(-40, abs=0.05)
    assert abs(z.mean()) < 1e-4
    assert np.mean((z / 0.01) ** 4) == pytest.approx(3, abs=0.1)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01


def test_noise_depends_on_clip_and_seed_alone() -> None:
    again = noise()
    assert np.array_equal(noise(), again)
    assert not np.array_equal(noise(clip_id="other"), again)
    assert not np.array_equal(noise(seed=1), again)


def test_noise_grows_with_sigma() -> None:
    for sigma in (0.5, 1.0, 2.0):
        np.testing.assert_allclose(noise(sigma), noise(0.01) * (sigma / 0.01), rtol=1e-5)


def test_seed_zero_is_a_seed() -> None:
    draws = {generator(seed=seed, purpose="p", key="k").random() for seed in range(5)}
    assert len(draws) == 5


def test_golden_draws() -> None:
    """Written by the same call; a change here changes every dataset."""
    draws = generator(seed=0, purpose="noise", key="clip").standard_normal(3, dtype=np.float32)
    np.testing.assert_allclose(
        draws, [-0.47362273931503296, -0.3424418270587921, -0.39716672897338867], rtol=1e-6
    )


def test_no_noise_gives_a_copy() -> None:
    audio = np.ones(4, np.float32)
    clean = add_noise(audio, sample_rate_hz=16000, sigma=0.0, seed=0, clip_id="a")
    clean[0] = 5
    assert audio[0] == 1


def test_negative_sigma_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma"):
        noise(sigma=-1.0)


def test_noise_at_16_khz_is_drawn_sample_by_sample() -> None:
    for samples in (1, 7, 15999, 160000):
        drawn = generator(seed=0, purpose="noise", key="clip").standard_normal(samples, np.float32)
        assert np.array_equal(noise_at(16000, samples), np.float32(0.01) * drawn)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 24000, 32000, 44100, 48000])
def test_all_rates_hear_the_same_noise(rate_hz: int) -> None:
    """Where both have it; the last samples before a filter's end and above its band differ."""
    seconds = 4
    here, there = noise_at(rate_hz, seconds * rate_hz), noise_at(16000, seconds * 16000)
    shared_hz = 0.8 * min(rate_hz, 16000) / 2
    spectra = []
    for audio, rate in ((here, rate_hz), (there, 16000)):
        spectrum = np.fft.rfft(audio.astype(np.float64)) / rate
        spectra.append(spectrum[seconds * 100 : int(seconds * shared_hz)])
    difference = np.abs(spectra[0] - spectra[1]) ** 2
    assert difference.mean() < 1e-3 * (np.abs(spectra[1]) ** 2).mean()


@pytest.mark.parametrize("rate_hz", [8000, 24000, 44100])
def test_noise_has_its_level_in_its_band_at_every_rate(rate_hz: int) -> None:
    z = noise_at(rate_hz, 10 * rate_hz).astype(np.float64)
    power = np.abs(np.fft.rfft(z)) ** 2 * 2 / len(z) / rate_hz  # of each hertz
    hz = np.fft.rfftfreq(len(z), 1 / rate_hz)
    inside = power[(hz > 20) & (hz < 0.85 * min(rate_hz, 16000) / 2)].mean()
    assert 10 * np.log10(inside * 8000) == pytest.approx(-40, abs=0.1)
    assert power[hz > 8600].sum() < 1e-3 * power.sum()


@pytest.mark.parametrize(
    ("rate_hz", "samples"), [(44100, 11), (44100, 44099), (8000, 3), (48000, 1)]
)
def test_any_length_gets_noise_to_its_end(rate_hz: int, samples: int) -> None:
    z = noise_at(rate_hz, samples)
    assert z.shape == (samples,)
    assert z[-1] != 0


def test_a_longer_clip_begins_with_the_noise_of_a_shorter_one() -> None:
    whole = noise_at(16000, 16000)
    up = resample(whole, from_hz=16000, to_hz=44100)
    np.testing.assert_allclose(noise_at(44100, 44100), up, rtol=0, atol=1e-7)
    assert np.array_equal(noise_at(16000, 8000), whole[:8000])
