"""Features against librosa's filters and against tones whose pitch is known."""

import librosa
import numpy as np
import pytest

from singsong.models.lite.features import (
    FEATURES,
    MELS,
    WINDOW_SAMPLES,
    chroma_filters,
    log_mel_chroma,
    mel_filters,
)

RATE = 16000
HOP = 640


def tone(hz: float, *, samples: int = RATE, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(samples) / RATE)).astype(np.float32)


def features(audio: np.ndarray) -> np.ndarray:
    return log_mel_chroma(audio, sample_rate_hz=RATE, hop=HOP)


def test_mel_filters_are_librosas():
    theirs = librosa.filters.mel(sr=RATE, n_fft=WINDOW_SAMPLES, n_mels=MELS, norm=None)
    np.testing.assert_allclose(mel_filters(sample_rate_hz=RATE), theirs, atol=1e-5)


def test_chroma_filters_share_each_bin_out_whole():
    total = chroma_filters(sample_rate_hz=RATE).sum(axis=0)
    bins = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / RATE)
    heard = (bins >= 110) & (bins <= 3520)
    np.testing.assert_allclose(total[heard], 1, atol=1e-5)
    assert not total[~heard].any()


@pytest.mark.parametrize(
    ("hz", "pitch_class"), [(261.63, 0), (329.63, 4), (440.0, 9), (880.0, 9), (1975.53, 11)]
)
def test_a_tone_is_its_pitch_class(hz, pitch_class):
    middle = features(tone(hz))[12]
    assert np.argmax(middle[MELS + 1 :]) == pitch_class
    assert middle[MELS + 1 + pitch_class] > 0.8


def test_mel_powers_are_librosas():
    audio = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    found = features(audio)
    # librosa centres frame t on sample t * hop, we on (t + 1/2) * hop; its windows are not scaled.
    shifted = np.concatenate([np.zeros(HOP // 2, np.float32), audio])
    hann = np.hanning(WINDOW_SAMPLES + 1)[:-1]
    theirs = librosa.feature.melspectrogram(
        y=shifted, sr=RATE, n_fft=WINDOW_SAMPLES, hop_length=HOP, n_mels=MELS, norm=None,
        pad_mode="constant",
    )  # fmt: skip
    theirs_db = 10 * np.log10(theirs.T * 2 / (WINDOW_SAMPLES * np.sum(hann**2)))
    ours_db = found[:, :MELS] + found[:, MELS : MELS + 1]
    np.testing.assert_allclose(ours_db[2:20], theirs_db[3:21], atol=0.05)


def test_half_the_amplitude_only_lowers_the_level():
    loud, soft = features(tone(440) + tone(3000)), features(tone(440) / 2 + tone(3000) / 2)
    chroma = slice(MELS + 1, None)
    np.testing.assert_allclose(loud[12, chroma], soft[12, chroma], atol=1e-3)
    bands = loud[12, :MELS] + loud[12, MELS] > -60
    drop = (loud - soft)[12, :MELS][bands] + (loud - soft)[12, MELS]
    np.testing.assert_allclose(drop, 6.02, atol=0.02)


def test_silence_has_even_pitch_classes_and_a_floor():
    silent = features(np.zeros(2 * HOP, np.float32))
    np.testing.assert_allclose(silent[:, :MELS], 0, atol=1e-5)
    np.testing.assert_allclose(silent[:, MELS], -80, atol=1e-4)
    np.testing.assert_allclose(silent[:, MELS + 1 :], np.sqrt(1 / 12), atol=1e-5)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (640, 1), (641, 2), (160000, 250)])
def test_every_started_hop_is_a_frame(samples, frames):
    assert features(tone(440, samples=samples)).shape == (frames, FEATURES)


@pytest.mark.parametrize("shape", [(0,), (1, 5)])
def test_anything_but_a_clip_is_refused(shape):
    with pytest.raises(ValueError, match="audio must be"):
        features(np.zeros(shape, np.float32))
