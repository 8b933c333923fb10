"""Tests of the DAC adapter, on small models of the real class with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DacModel

from singsong.models.conformance import noise_clips
from singsong.models.dac import DacCodec
from singsong.models.weights import WeightsError
from singsong.schemas.geometry import AcousticGeometry
from tests.support.small_checkpoints import save_dac

CLIPS = noise_clips(8_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dac(tmp_path_factory.mktemp("dac"))


@pytest.fixture(scope="module")
def codec(folder: Path) -> DacCodec:
    return DacCodec(str(folder))


def test_geometry_is_that_of_the_configuration(codec: DacCodec) -> None:
    assert codec.geometry == AcousticGeometry(
        sample_rate_hz=16000,
        hop_samples=320,
        codebooks=12,
        coarse_codebooks=4,
        codebook_size=64,
    )


def test_coarse_codebooks_can_be_chosen(folder: Path) -> None:
    assert DacCodec(str(folder), coarse_codebooks=2).geometry.coarse_codebooks == 2
    with pytest.raises(ValueError, match="coarse_codebooks must be at most"):
        DacCodec(str(folder), coarse_codebooks=13)


def test_codes_and_audio_are_those_of_transformers(folder: Path, codec: DacCodec) -> None:
    model = DacModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        codes = model.encode(torch.tensor(CLIPS)[:, None]).audio_codes
        audio = model.decode(audio_codes=codes).audio_values
    ours = codec.encode(CLIPS)
    assert ours.dtype == np.uint16
    assert ours.shape == (8, 25, 12)
    # A leaner activation rounds otherwise in the last bit: codes at a tie may differ.
    assert (ours == codes.transpose(1, 2).numpy()).mean() > 0.999
    decoded = codec.decode(codes.transpose(1, 2).numpy().astype(np.uint16))
    assert decoded.shape == (8, 8_000)
    assert decoded.dtype == np.float32
    # The network gives 8 samples less than 25 hops; the adapter gives silence there.
    assert audio.shape[1] == 7_992
    np.testing.assert_allclose(decoded[:, :7_992], audio.numpy(), atol=1e-5)
    np.testing.assert_array_equal(decoded[:, 7_992:], 0)


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 4_001])
def test_a_clip_is_filled_up_to_whole_frames(codec: DacCodec, samples: int) -> None:
    frames = codec.geometry.frames(samples)
    codes = codec.encode(CLIPS[:1, :samples])
    assert codes.shape == (1, frames, 12)
    filled = np.pad(CLIPS[:1, :samples], ((0, 0), (0, frames * 320 - samples)))
    np.testing.assert_array_equal(codec.encode(filled), codes)
    assert codec.decode(codes).shape == (1, frames * 320)


def test_the_first_codebooks_alone_can_be_decoded(folder: Path, codec: DacCodec) -> None:
    model = DacModel.from_pretrained(folder).eval()
    codes = codec.encode(CLIPS[:3])
    coarse = torch.from_numpy(codes[..., :4].astype(np.int64)).transpose(1, 2)
    with torch.inference_mode():
        expected = model.decode(audio_codes=coarse).audio_values.numpy()
    np.testing.assert_allclose(codec.decode(codes[..., :4])[:, :7_992], expected, atol=1e-5)


def test_bfloat16_keeps_most_codes_and_the_quantiser_in_float32(
    folder: Path, codec: DacCodec
) -> None:
    lean = DacCodec(str(folder), dtype="bfloat16")
    assert {p.dtype for p in lean._model.encoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in lean._model.quantizer.parameters()} == {torch.float32}
    agreement = (lean.encode(CLIPS)[..., :4] == codec.encode(CLIPS)[..., :4]).mean()
    assert agreement > 0.8
    assert lean.weights_sha256 == codec.weights_sha256


def test_the_digest_is_that_of_the_weights(codec: DacCodec, tmp_path: Path) -> None:
    other = DacCodec(str(save_dac(tmp_path, seed=1)))
    assert other.weights_sha256 != codec.weights_sha256


@pytest.mark.parametrize(
    ("key", "value", "shapes"),
    [("sampling_rate", 8000, True), ("architectures", ["Other"], False), ("dtype", None, False)],
)
def test_the_digest_covers_what_shapes_the_result(
    codec: DacCodec, folder: Path, tmp_path: Path, key: str, value: object, shapes: bool
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
    assert (DacCodec(str(tmp_path)).weights_sha256 != codec.weights_sha256) == shapes


@pytest.mark.parametrize("shape", [(1, 5), (1, 5, 13), (1, 5, 0), (0, 5, 12)])
def test_codes_of_another_shape_are_refused(codec: DacCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[clips, frames, codebooks\]|12 codebooks"):
        codec.decode(np.zeros(shape, np.uint16))


def test_codes_outside_the_codebook_are_refused(codec: DacCodec) -> None:
    with pytest.raises(ValueError, match="codes must be from 0 to 63, found 64"):
        codec.decode(np.full((1, 5, 12), 64, np.uint16))


def test_wrong_audio_and_missing_weights_are_refused(codec: DacCodec, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[clips, samples\]"):
        codec.encode(np.zeros(100, np.float32))
    with pytest.raises(WeightsError, match="no usable weights"):
        DacCodec(str(tmp_path))
