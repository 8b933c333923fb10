"""Tests of separating, encoding and decoding arrays at any rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from singsong.audio.quality import snr_db
from singsong.audio.resample import resample
from singsong.models.arrays import decode, encode, separate
from singsong.models.lite.acoustic import LiteAcousticCodec
from singsong.models.lite.semantic import LiteSemanticEncoder
from singsong.models.spleeter import SpleeterSeparator
from singsong.schemas.arrays import FloatArray
from tests.support.fakes import tone
from tests.support.real_audio import musdb_excerpt

MONO = tone(1.0, hz=330.0, rate=48000)
STEREO = np.stack([MONO, tone(1.0, hz=220.0, rate=48000)])


def test_stems_are_those_of_the_separator_and_add_up() -> None:
    mix = musdb_excerpt()["mix"][:88_200]
    stems = separate(mix, sample_rate_hz=44100)
    expected = SpleeterSeparator().separate_vocals(mix[None])[0]
    np.testing.assert_array_equal(stems.vocals, expected)
    np.testing.assert_allclose(stems.vocals + stems.instrumental, mix, atol=1e-6)
    assert stems.vocals.dtype == stems.instrumental.dtype == np.float32


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_two_channels_go_together_to_a_model_that_takes_stereo(
    monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    class Swapping:
        sample_rate_hz = 48000
        weights_sha256 = ""

        def separate_vocals(self, mix: FloatArray) -> FloatArray:
            return mix * np.float32(0.25)

        def separate_stereo(self, mix: FloatArray) -> FloatArray:
            return mix[:, ::-1] * np.float32(0.5)

    monkeypatch.setattr("singsong.models.arrays.load_model", lambda *_, **__: Swapping())
    mix = np.stack([MONO, STEREO[1], MONO[::-1]])[:channels]
    vocals = separate(mix, sample_rate_hz=48000).vocals
    expected = mix[::-1] * np.float32(0.5) if channels == 2 else mix * np.float32(0.25)
    np.testing.assert_array_equal(vocals, expected)


@pytest.mark.parametrize("rate", [16000, 22051, 48000])
def test_other_rates_and_channels_come_back_in_shape_and_in_time(rate: int) -> None:
    mono = musdb_excerpt()["mix"][:88_200]
    at_own_rate = np.stack([mono, mono[::-1]])
    mix = resample(at_own_rate, from_hz=44100, to_hz=rate)
    stems = separate(mix, sample_rate_hz=rate)
    assert stems.vocals.shape == mix.shape
    vocals = separate(at_own_rate, sample_rate_hz=44100).vocals
    expected = resample(vocals, from_hz=44100, to_hz=rate)
    assert snr_db(expected[0], stems.vocals[0]) > 10
    assert not np.array_equal(stems.vocals[0], stems.vocals[1])


def test_codes_are_those_of_the_models_at_their_rate() -> None:
    audio = resample(STEREO, from_hz=48000, to_hz=16000)
    acoustic, semantic = LiteAcousticCodec.load("2"), LiteSemanticEncoder.load()
    np.testing.assert_array_equal(encode(STEREO, sample_rate_hz=48000), acoustic.encode(audio))
    np.testing.assert_array_equal(
        encode(STEREO, sample_rate_hz=48000, role="semantic"), semantic.encode(audio)
    )
    mono = encode(MONO, sample_rate_hz=48000)
    np.testing.assert_array_equal(mono, acoustic.encode(audio[:1])[0])


def test_decoding_gives_the_sound_back_at_the_rate_asked_for() -> None:
    codes = encode(STEREO, sample_rate_hz=48000)
    again = decode(codes, sample_rate_hz=48000)
    assert again.shape == (2, 48000)
    assert again.dtype == np.float32
    assert snr_db(STEREO[0], again[0]) > 5 > 0 > snr_db(STEREO[0], again[1])
    np.testing.assert_array_equal(decode(codes[1], sample_rate_hz=48000), again[1])
    assert decode(codes[..., :4].astype(np.int64), sample_rate_hz=8000).shape == (2, 8000)


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        (MONO.astype(np.float64), "must be float32 .* found float64"),
        (np.zeros((1, 2, 3), np.float32), r"found float32 \[1, 2, 3\]"),
        (np.zeros(0, np.float32), r"found float32 \[0\]"),
        (np.full(100, np.nan, np.float32), "must be finite"),
    ],
)
def test_wrong_audio_is_refused(audio: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"the mix {said}" if said[0] == "m" else said):
        separate(audio, sample_rate_hz=44100)
    with pytest.raises(ValueError, match=f"the audio {said}" if said[0] == "m" else said):
        encode(audio, sample_rate_hz=44100)


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (np.zeros((5, 12), np.float32), r"must be integers .* found float32 \[5, 12\]"),
        (np.zeros(12, np.int64), r"found int64 \[12\]"),
        (np.zeros((0, 12), np.int64), r"found int64 \[0, 12\]"),
        (np.full((5, 12), -1), "from 0 to 1023, found -1 to -1"),
        (np.full((5, 12), 65536), "from 0 to 1023, found 65536"),
        (np.zeros((5, 13), np.int64), "there are 12 codebooks"),
    ],
)
def test_wrong_codes_are_refused(codes: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        decode(codes, sample_rate_hz=16000)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="from_hz and to_hz must be positive, found 0"):
        encode(MONO, sample_rate_hz=0)
    with pytest.raises(ValueError, match='role must be "acoustic" or "semantic", found \'x\''):
        encode(MONO, sample_rate_hz=48000, role="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 samples at 48000 Hz are less than one at"):
        encode(MONO[:1], sample_rate_hz=48000)
    with pytest.raises(ValueError, match=r"separator must be one of .* found 'musicnet'"):
        separate(MONO, sample_rate_hz=48000, model="musicnet")
    with pytest.raises(ValueError, match="device must be"):
        separate(MONO, sample_rate_hz=48000, device="abacus")
