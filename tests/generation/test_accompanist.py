"""Accompaniments by untrained models: lengths, seeds, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from singsong.generation.accompanist import Accompanist
from singsong.generation.sampling_config import Sampling
from singsong.models.registry import load_model
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, ModelSpec
from singsong.training.featurization import Featurization
from tests.support.accompanying import lite_provenance, save_accompaniment, save_fine


def melody(seconds: float, rate_hz: int = 16000) -> np.ndarray:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * 220 * time * (1 + 0.1 * np.sin(time)))).astype(np.float32)


@pytest.fixture(scope="module")
def accompanist(tmp_path_factory: pytest.TempPathFactory) -> Accompanist:
    return Accompanist.load(save_accompaniment(tmp_path_factory.mktemp("model")))


@pytest.mark.parametrize(("seconds", "rate_hz"), [(0.2, 16000), (1.0, 44100), (2.3, 48000)])
def test_it_is_as_long_as_the_vocals(
    accompanist: Accompanist, seconds: float, rate_hz: int
) -> None:
    vocals = melody(seconds, rate_hz)
    drawn = []
    audio = accompanist.accompany(
        vocals, sample_rate_hz=rate_hz, seeds=[0, 1], on_token=lambda: drawn.append(1)
    )
    assert audio.shape == (2, len(vocals))
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() > 0
    assert len(drawn) == accompanist.tokens_to_draw(len(vocals), sample_rate_hz=rate_hz)


def test_windows_of_long_vocals(accompanist: Accompanist) -> None:
    first, hop = 25 + 50 * 4, 12 + 24 * 4  # half a window, in whole frames of both codes
    assert accompanist.windows.hop_seconds == 0.48
    assert accompanist.tokens_to_draw(16000, sample_rate_hz=16000) == first
    assert accompanist.tokens_to_draw(16001, sample_rate_hz=16000) == first
    assert accompanist.tokens_to_draw(16100, sample_rate_hz=16000) == first + hop
    more = -(-599 * 100 // 48)
    assert accompanist.tokens_to_draw(600 * 48000, sample_rate_hz=48000) == first + more * hop


def test_a_seed_is_an_accompaniment(accompanist: Accompanist) -> None:
    vocals = melody(1.2)
    both = accompanist.accompany(vocals, sample_rate_hz=16000, seeds=[3, 4])
    again = accompanist.accompany(vocals, sample_rate_hz=16000, seeds=[4, 3])
    np.testing.assert_array_equal(both, again[::-1])
    assert not np.array_equal(both[0], both[1])


def test_many_singers_at_once_are_accompanied_as_each_alone(accompanist: Accompanist) -> None:
    singers = [melody(1.2), 0.5 * melody(1.2)[::-1].copy()]
    how = {"sample_rate_hz": 16000, "seeds": [3, 4]}
    both = accompanist.accompany_each(singers, **how)
    for voice, seed, heard in zip(singers, (3, 4), both, strict=True):
        [alone] = accompanist.accompany(voice, sample_rate_hz=16000, seeds=[seed])
        np.testing.assert_allclose(heard, alone, atol=1e-6)
    with pytest.raises(ValueError, match=r"2 singers, 2 seeds, lengths \[15000, 19200\]"):
        accompanist.accompany_each([singers[0], singers[1][:15000]], **how)
    with pytest.raises(ValueError, match="0 singers, 2 seeds"):
        accompanist.accompany_each([], **how)


def test_silence_is_accompanied(accompanist: Accompanist) -> None:
    silence = np.zeros(16000, np.float32)
    assert np.isfinite(accompanist.accompany(silence, sample_rate_hz=16000)).all()


@pytest.mark.parametrize("featurization", ["SA-SA", "A-SA", "SA-A", "A-A"])
def test_each_featurization_accompanies(tmp_path: Path, featurization: str) -> None:
    accompanist = Accompanist.load(save_accompaniment(tmp_path, featurization))
    assert accompanist.accompany(melody(1.5), sample_rate_hz=16000).shape == (1, 24000)


def test_the_fine_model_keeps_the_coarse_codes_and_changes_the_sound(tmp_path: Path) -> None:
    checkpoint, fine = save_accompaniment(tmp_path / "a"), save_fine(tmp_path / "b")
    vocals, drawn = melody(1.2), []
    coarse = Accompanist.load(checkpoint).accompany(vocals, sample_rate_hz=16000)
    accompanist = Accompanist.load(checkpoint, fine=fine)
    both = accompanist.accompany(vocals, sample_rate_hz=16000, on_token=lambda: drawn.append(1))
    assert len(drawn) == accompanist.tokens_to_draw(len(vocals), sample_rate_hz=16000)
    assert both.shape == coarse.shape
    assert not np.array_equal(both, coarse)


def test_the_digest_is_that_of_all_models(tmp_path: Path, accompanist: Accompanist) -> None:
    checkpoint, fine = save_accompaniment(tmp_path / "a", seed=1), save_fine(tmp_path / "b")
    digests = {
        accompanist.weights_sha256,
        Accompanist.load(checkpoint).weights_sha256,
        Accompanist.load(checkpoint, fine=fine).weights_sha256,
    }
    assert len(digests) == 3
    assert Accompanist.load(checkpoint).weights_sha256 in digests


def test_a_model_of_the_first_lite_codec_is_decoded_by_that_codec(tmp_path: Path) -> None:
    """A checkpoint names its codec by the hash of the weights: today's default has others."""
    first = ModelSpec.parse("lite:1")
    of_first = Accompanist.load(save_accompaniment(tmp_path, acoustic=first))
    assert of_first.acoustic.weights_sha256 == load_model("acoustic", first).weights_sha256
    assert of_first.acoustic.weights_sha256 != load_model("acoustic", "lite:2").weights_sha256
    assert np.abs(of_first.accompany(melody(1.2), sample_rate_hz=16000)).max() > 0


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    weights = {**lite_provenance(Featurization()).weights, "acoustic": "0" * 64}
    with pytest.raises(ValueError, match=r"codes of another acoustic model \(000000000000, "):
        Accompanist.load(save_accompaniment(tmp_path / "other", weights=weights))
    own, fine = save_accompaniment(tmp_path / "own"), save_fine(tmp_path / "fine")
    with pytest.raises(ValueError, match="holds a fine model"):
        Accompanist.load(fine)
    with pytest.raises(ValueError, match="holds an accompaniment model"):
        Accompanist.load(own, fine=own)
    with pytest.raises(ValueError, match="codes of another acoustic codec"):
        Accompanist.load(own, fine=save_fine(tmp_path / "fine2", weights=weights))
    with pytest.raises(ValueError, match="is not a model"):
        Accompanist.load(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text('{"model_type": "dac"}')
    with pytest.raises(ValueError, match="does not hold a model of `singsong train`"):
        Accompanist.load(str(tmp_path))
    with pytest.raises(ValueError, match='device must be "cpu", "cuda"'):
        Accompanist.load(own, device="gpu")


def test_clips_whose_half_is_no_whole_frame_of_both_codes(tmp_path: Path) -> None:
    """63 semantic and 125 coarse frames."""
    encode = EncodeRecipe(clip_seconds=2.5)
    recipe = DatasetRecipe(encode=encode)
    accompanist = Accompanist.load(save_accompaniment(tmp_path, recipe=recipe))
    layout = accompanist.windows.layout
    assert (layout.coarse_hop, layout.semantic_hop) == (62, 31)
    heard = accompanist.accompany(np.zeros(6 * 16000, np.float32), sample_rate_hz=16000)
    assert heard.shape == (1, 6 * 16000)
    assert np.abs(heard[0, -16000:]).max() > 0


@pytest.mark.parametrize(
    ("vocals", "complaint"),
    [
        (np.zeros((2, 16000), np.float32), r"must be \[samples\], found \[2, 16000\]"),
        (np.zeros(0, np.float32), r"found \[0\]"),
        (np.full(16000, np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_wrong_vocals_are_refused(
    accompanist: Accompanist, vocals: np.ndarray, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        accompanist.accompany(vocals, sample_rate_hz=16000)


@pytest.mark.parametrize("name", ["temperature", "fine_temperature"])
def test_a_negative_temperature_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        Sampling(**{name: -0.1})
