"""Tests of the EnCodec adapter, on small models of the real class with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecModel

from singsong.models.conformance import noise_clips
from singsong.models.encodec import EncodecCodec
from singsong.models.registry import load_acoustic
from singsong.models.weights import WeightsError
from singsong.schemas.geometry import AcousticGeometry
from singsong.schemas.recipe import ModelSpec
from tests.support.small_checkpoints import Malice, save_dac, save_encodec

CLIPS = noise_clips(9_600)  # 30 frames at 24 kHz, 15 at 32 kHz
GEOMETRIES = {
    24000: AcousticGeometry(
        sample_rate_hz=24000,
        hop_samples=320,
        codebooks=32,
        coarse_codebooks=11,
        codebook_size=1024,
    ),
    32000: AcousticGeometry(
        sample_rate_hz=32000, hop_samples=640, codebooks=4, coarse_codebooks=2, codebook_size=2048
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    root = tmp_path_factory.mktemp("encodec")
    return {rate_hz: save_encodec(root / str(rate_hz), rate_hz=rate_hz) for rate_hz in GEOMETRIES}


@pytest.fixture(scope="module")
def codecs(folders: dict[int, Path]) -> dict[int, EncodecCodec]:
    return {rate_hz: EncodecCodec(str(folder)) for rate_hz, folder in folders.items()}


@pytest.fixture
def state(folders: dict[int, Path], tmp_path: Path) -> dict[str, torch.Tensor]:
    """Returns the tensors of the model at 24 kHz, whose configuration lies in `tmp_path`."""
    (tmp_path / "config.json").write_text((folders[24000] / "config.json").read_text())
    tensors: dict[str, torch.Tensor] = load_file(folders[24000] / "model.safetensors")
    return tensors


def by_transformers(
    folder: Path, clips: Any, *, bandwidth: float
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Returns codes [clips, frames, codebooks] and audio [clips, samples]."""
    model = EncodecModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        codes = model.encode(torch.tensor(clips)[:, None], bandwidth=bandwidth).audio_codes
        audio = model.decode(codes, [None]).audio_values
    return codes[0].transpose(1, 2).numpy(), audio[:, 0].numpy()


@pytest.mark.parametrize("rate_hz", GEOMETRIES)
def test_geometry_is_that_of_the_published_model(
    codecs: dict[int, EncodecCodec], rate_hz: int
) -> None:
    assert codecs[rate_hz].geometry == GEOMETRIES[rate_hz]


@pytest.mark.parametrize(("rate_hz", "bandwidth"), [(24000, 24.0), (24000, 6.0), (32000, 2.2)])
def test_codes_and_audio_are_those_of_transformers(
    folders: dict[int, Path], rate_hz: int, bandwidth: float
) -> None:
    codec = EncodecCodec(str(folders[rate_hz]), bandwidth=bandwidth, batch_clips=8)
    codes, audio = by_transformers(folders[rate_hz], CLIPS, bandwidth=bandwidth)
    ours = codec.encode(CLIPS)
    assert ours.dtype == np.uint16
    np.testing.assert_array_equal(ours, codes)
    decoded = codec.decode(codes.astype(np.uint16))
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, audio, atol=2e-5)


@pytest.mark.parametrize(
    ("bandwidth", "codebooks", "coarse"), [(1.5, 2, 1), (3, 4, 2), (6, 8, 3), (12, 16, 6)]
)
def test_the_bandwidth_sets_the_number_of_codebooks(
    folders: dict[int, Path],
    codecs: dict[int, EncodecCodec],
    bandwidth: float,
    codebooks: int,
    coarse: int,
) -> None:
    codec = EncodecCodec(str(folders[24000]), bandwidth=bandwidth)
    assert codec.geometry.codebooks == codebooks
    assert codec.geometry.coarse_codebooks == coarse
    every = codecs[24000].encode(CLIPS[:2])
    np.testing.assert_array_equal(codec.encode(CLIPS[:2]), every[..., :codebooks])
    assert codec.weights_sha256 != codecs[24000].weights_sha256


def test_the_options_of_a_spec_arrive(folders: dict[int, Path]) -> None:
    spec = ModelSpec.parse(f"encodec:{folders[24000]},bandwidth=6,coarse=4")
    codec = load_acoustic(spec, device="cpu", dtype="float32", batch_clips=1)
    assert (codec.geometry.codebooks, codec.geometry.coarse_codebooks) == (8, 4)
    with pytest.raises(ValueError, match=r"bandwidth must be one of \[1.5, .*24.0\] kbps, found 5"):
        EncodecCodec(str(folders[24000]), bandwidth=5)
    with pytest.raises(ValueError, match="coarse_codebooks must be at most codebooks=4, found 5"):
        EncodecCodec(str(folders[32000]), coarse_codebooks=5)


@pytest.mark.parametrize("rate_hz", GEOMETRIES)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_clip_is_filled_up_to_whole_frames(
    codecs: dict[int, EncodecCodec], rate_hz: int, over: int
) -> None:
    codec, hop = codecs[rate_hz], GEOMETRIES[rate_hz].hop_samples
    for samples in (1, hop + over, 9 * hop + over):
        frames = -(-samples // hop)
        codes = codec.encode(CLIPS[:1, :samples])
        assert codes.shape[1] == frames
        filled = np.zeros((1, frames * hop), np.float32)
        filled[:, :samples] = CLIPS[:1, :samples]
        np.testing.assert_array_equal(codec.encode(filled), codes)
        assert codec.decode(codes).shape == (1, frames * hop)


@pytest.mark.parametrize("rate_hz", GEOMETRIES)
def test_the_first_codebooks_alone_can_be_decoded(
    folders: dict[int, Path], codecs: dict[int, EncodecCodec], rate_hz: int
) -> None:
    model = EncodecModel.from_pretrained(folders[rate_hz]).eval()
    codes = codecs[rate_hz].encode(CLIPS[:2])[..., :2]
    with torch.inference_mode():
        given = torch.from_numpy(codes.astype(np.int64)).transpose(1, 2)
        expected = model.decode(given[None], [None]).audio_values[:, 0].numpy()
    np.testing.assert_allclose(codecs[rate_hz].decode(codes), expected, atol=2e-5)


def test_bfloat16_keeps_most_codes_and_the_quantiser_in_float32(
    folders: dict[int, Path], codecs: dict[int, EncodecCodec]
) -> None:
    lean = EncodecCodec(str(folders[24000]), dtype="bfloat16")
    assert {p.dtype for p in lean._model.encoder.parameters()} == {torch.bfloat16}
    assert {layer.codebook.embed.dtype for layer in lean._layers} == {torch.float32}
    agreement = lean.encode(CLIPS)[..., 0] == codecs[24000].encode(CLIPS)[..., 0]
    assert agreement.mean() > 0.8
    assert lean.weights_sha256 == codecs[24000].weights_sha256


def test_all_files_of_the_same_weights_have_one_digest(
    codecs: dict[int, EncodecCodec], state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """The first published files name the parts of a normalised weight otherwise."""
    names = {"original0": "weight_g", "original1": "weight_v"}
    old = {}
    for name, tensor in state.items():
        before, is_part, part = name.partition("parametrizations.weight.")
        old[before + names[part] if is_part else name] = tensor
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "pytorch_model.bin")
    assert EncodecCodec(str(tmp_path)).weights_sha256 == codecs[24000].weights_sha256


def test_what_only_training_reads_may_be_missing(
    codecs: dict[int, EncodecCodec], state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    unread = ("inited", "cluster_size", "embed_avg")
    lean = {name: tensor for name, tensor in state.items() if not name.endswith(unread)}
    assert len(lean) == len(state) - 3 * 32
    save_file(lean, tmp_path / "model.safetensors", {"format": "pt"})
    codec = EncodecCodec(str(tmp_path))
    assert codec.weights_sha256 == codecs[24000].weights_sha256
    np.testing.assert_array_equal(codec.encode(CLIPS[:1]), codecs[24000].encode(CLIPS[:1]))


@pytest.mark.parametrize(
    "name", ["quantizer.layers.3.codebook.embed", "encoder.layers.0.conv.bias"]
)
def test_what_is_read_may_not_be_missing(
    state: dict[str, torch.Tensor], tmp_path: Path, name: str
) -> None:
    del state[name]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=rf"lacks weights of EncodecModel: \['{name}'\]"):
        EncodecCodec(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["quantizer.layers.3.codebook.embed", "decoder.layers.0.conv.bias"]
)
def test_the_digest_is_that_of_the_weights(
    codecs: dict[int, EncodecCodec], state: dict[str, torch.Tensor], tmp_path: Path, name: str
) -> None:
    state[name][0] += 1
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    assert EncodecCodec(str(tmp_path)).weights_sha256 != codecs[24000].weights_sha256


def test_stereo_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"for audio of 2 channels.*choose facebook/encodec_24khz"):
        EncodecCodec(str(save_encodec(tmp_path, rate_hz=48000)))


def test_wrong_weights_are_refused(
    state: dict[str, torch.Tensor], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(WeightsError, match="no usable weights"):
        EncodecCodec(str(tmp_path))
    marker = tmp_path / "executed"
    torch.save({**state, "evil": Malice(marker)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="refused to load"):
        EncodecCodec(str(tmp_path))
    assert not marker.exists()
    with pytest.raises(WeightsError):
        EncodecCodec(str(save_dac(tmp_path_factory.mktemp("dac"))))


def test_wrong_audio_and_codes_are_refused(codecs: dict[int, EncodecCodec]) -> None:
    with pytest.raises(ValueError, match=r"\[clips, samples\]"):
        codecs[32000].encode(np.zeros(100, np.float32))
    with pytest.raises(ValueError, match="there are 4 codebooks, found codes of 5"):
        codecs[32000].decode(np.zeros((1, 3, 5), np.uint16))
    with pytest.raises(ValueError, match="codes must be from 0 to 2047, found 2048 to 2048"):
        codecs[32000].decode(np.full((1, 3, 4), 2048, np.uint16))
