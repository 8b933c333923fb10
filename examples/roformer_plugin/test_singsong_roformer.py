"""Whether the separator keeps the contract of singsong, with random weights of the real class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mel_band_roformer import MelBandRoformer
from safetensors.torch import save_file
from singsong_roformer import RoFormerSeparator, chunk_starts

from singsong.models.conformance import check_separator
from singsong.models.weights import WeightsError
from singsong.schemas.arrays import FloatArray

CHUNK = 8820
PLACE: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_clips": 1}
NETWORK = {
    **{"dim": 8, "depth": 1, "stereo": True, "num_bands": 8, "dim_head": 8, "heads": 2},
    **{"time_transformer_depth": 1, "freq_transformer_depth": 1, "stft_hop_length": 441},
}
CONFIG = """
audio: {chunk_size: 131584}
model:
  linear_transformer_depth: 0
  match_input_audio_length: false
  multi_stft_resolutions_window_sizes: !!python/tuple
  - 4096
  - 2048
  MODEL
training: {instruments: [Drums, Vocals], target_instrument: TARGET}
inference: {chunk_size: CHUNK, dim_t: 1101}
"""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def network() -> MelBandRoformer:
    return build()


def build(**changes: Any) -> MelBandRoformer:
    """Returns a small network whose masks are far from zero."""
    torch.manual_seed(0)
    network = MelBandRoformer(**(NETWORK | changes)).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return network


def save(path: Path, content: Any, *, target: str = "vocals", **changes: Any) -> str:
    """Writes a checkpoint and its configuration as they are published."""
    torch.save(content, path)
    config = CONFIG.replace("CHUNK", str(CHUNK)).replace("TARGET", target)
    lines = yaml.safe_dump(NETWORK | changes).replace("\n", "\n  ")
    path.with_suffix(".yaml").write_text(config.replace("MODEL", lines))
    return str(path)


def load(source: str, **settings: Any) -> RoFormerSeparator:
    return RoFormerSeparator(source, **(PLACE | settings))


def noise(*shape: int) -> FloatArray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "settings"),
    [
        (CHUNK // 2, {"batch_clips": 1}),
        (2 * CHUNK, {"batch_clips": 3}),
        (2 * CHUNK, {"batch_clips": 1, "dtype": "bfloat16"}),
    ],
)
def test_it_keeps_the_contract(
    tmp_path: Path, network: MelBandRoformer, samples: int, settings: dict[str, Any]
) -> None:
    source = save(tmp_path / "model.ckpt", network.state_dict())
    check_separator(lambda: load(source, **settings), samples=samples)


def test_a_chunk_is_what_the_network_itself_gives(tmp_path: Path, network: MelBandRoformer) -> None:
    separator = load(save(tmp_path / "model.ckpt", network.state_dict()))
    mix = noise(1, 2, CHUNK)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(mix)).numpy()
    assert wanted.shape == mix.shape  # the chunk is a whole number of hops
    assert np.abs(wanted).max() > 0.05
    np.testing.assert_allclose(separator.separate_stereo(mix), wanted, atol=1e-6)


def test_mono_is_the_mean_of_two_equal_channels(tmp_path: Path, network: MelBandRoformer) -> None:
    separator = load(save(tmp_path / "model.ckpt", network.state_dict()))
    mix = noise(2, CHUNK)
    stereo = separator.separate_stereo(np.stack([mix, mix], axis=1))
    assert np.abs(stereo[:, 0] - stereo[:, 1]).max() > 0.01
    assert np.array_equal(separator.separate_vocals(mix), stereo.mean(axis=1))


@pytest.mark.parametrize("samples", [CHUNK - 100, CHUNK + 100, 3 * CHUNK])
def test_chunks_are_put_together_without_a_seam(
    tmp_path: Path, network: MelBandRoformer, samples: int
) -> None:
    """With a network that gives back what it gets, so does the separator, at any length."""
    separator = load(save(tmp_path / "model.ckpt", network.state_dict()))
    separator._net = torch.nn.Identity()
    mix = noise(2, 2, samples)
    np.testing.assert_allclose(separator.separate_stereo(mix), mix, rtol=1e-5, atol=0)


def test_the_network_sees_one_chunk_of_one_clip(tmp_path: Path, network: MelBandRoformer) -> None:
    """In a batch of three, and with 20 bands, the last bits of a clip depend on its place."""
    separator = load(save(tmp_path / "model.ckpt", network.state_dict()), batch_clips=3)
    seen = []
    separator._net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    separator.separate_vocals(noise(2, CHUNK - 1))
    separator.separate_stereo(noise(2, 2, CHUNK + 1))
    assert seen == 6 * [(1, 2, CHUNK)]


def test_masks_are_float32_where_the_network_computes_in_bfloat16(
    tmp_path: Path, network: MelBandRoformer
) -> None:
    """Autocast on a CPU would make them so, and that on CUDA would not."""
    mix = noise(1, CHUNK)
    source = save(tmp_path / "model.ckpt", network.state_dict())
    separator = load(source, dtype="bfloat16")
    seen = []
    for module in (separator._net.band_split, *separator._net.mask_estimators):
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    error = np.abs(separator.separate_vocals(mix) - load(source).separate_vocals(mix)).max()
    assert seen == [torch.bfloat16, torch.float32]
    assert 0 < error < 0.05


@pytest.mark.parametrize("samples", [1, CHUNK, CHUNK + 1, 2 * CHUNK, 10 * CHUNK + 7])
def test_chunks_cover_the_clip_and_share_a_tenth(samples: int) -> None:
    starts = chunk_starts(samples, CHUNK)
    assert starts[0] == 0
    assert starts[-1] == max(0, samples - CHUNK)
    assert all(0 < step <= CHUNK - CHUNK // 10 for step in np.diff(starts))
    assert len(starts) == 1 or len(starts) < 2 + samples / (0.9 * CHUNK)


def test_vocals_are_taken_from_a_network_of_several_stems(tmp_path: Path) -> None:
    network = build(num_stems=2)
    source = save(tmp_path / "model.ckpt", network.state_dict(), target="null", num_stems=2)
    mix = noise(1, 2, CHUNK)
    with torch.inference_mode():
        drums, vocals = network(torch.from_numpy(mix))[0].numpy()
    found = load(source).separate_stereo(mix)[0]
    np.testing.assert_allclose(found, vocals, atol=1e-6)
    assert np.abs(found - drums).max() > 0.05


def test_the_digest_names_weights_and_configuration(
    tmp_path: Path, network: MelBandRoformer
) -> None:
    state = network.state_dict()
    plain = load(save(tmp_path / "plain.ckpt", state)).weights_sha256
    nested = {"epoch": 3, "state_dict": state}
    assert load(save(tmp_path / "nested.ckpt", nested)).weights_sha256 == plain
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "a.safetensors")
    beside = str(tmp_path / "plain.yaml")
    assert load(str(tmp_path / "a.safetensors"), config=beside).weights_sha256 == plain
    other = tmp_path / "other.yaml"
    other.write_text(Path(beside).read_text().replace(f"chunk_size: {CHUNK}", "chunk_size: 17640"))
    assert load(str(tmp_path / "plain.ckpt"), config=str(other)).weights_sha256 != plain
    state["layers.0.0.norm.gamma"] += 1
    assert load(save(tmp_path / "plain.ckpt", state)).weights_sha256 != plain


class Malice:
    """Pickles to a call of `os.mkdir`."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self._marker),)


def test_what_is_missing_wrong_or_unsafe_is_a_sentence(
    tmp_path: Path, network: MelBandRoformer
) -> None:
    path, state = tmp_path / "model.ckpt", network.state_dict()
    with pytest.raises(ValueError, match="name the checkpoint"):
        RoFormerSeparator(None, **PLACE)
    with pytest.raises(WeightsError, match=r"no configuration at .*model\.yaml"):
        load(str(path))
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (state, {"target": "drums"}, r"that gives vocals, found .*stems \['drums'\]"),
        (state, {"stereo": False}, "found {'stereo': False"),
        (state, {"num_stems": 2}, r"'num_stems': 2}, stems \['vocals'\]"),
        (state, {"skip_connection": True}, r"unknown to mel_band_roformer, \['skip_connection'\]"),
        (state, {"dim": 16}, r"model\.ckpt does not fit its configuration: .*size mismatch"),
        (state, {"dim": None}, r"does not fit its configuration"),
        ({"epoch": 3}, {}, r"does not fit its configuration: .*Missing key"),
        ([1, 2], {}, "does not fit its configuration"),
        ({"state": Malice(tmp_path / "executed")}, {}, "names .*mkdir.* never executed"),
    ]
    for content, changes, sentence in wrong:
        with pytest.raises(WeightsError, match=f"(?s){sentence}"):
            load(save(path, content, **changes))
    assert not (tmp_path / "executed").exists()
    path.unlink()
    with pytest.raises(WeightsError, match="no weights at"):
        load(str(path))
    code = "model: !!python/object/apply:os.mkdir [executed]"
    for text in (code, "model: 3", "a: [", "model: {}\ntraining: {}", ""):
        path.with_suffix(".yaml").write_text(text)
        with pytest.raises(WeightsError, match="is not a configuration of a RoFormer"):
            load(str(path))
