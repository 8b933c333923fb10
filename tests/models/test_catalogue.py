"""What the list of known models says, held against the adapters, the packages and the networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from demucs.hdemucs import HDemucs
from demucs.hf import DEFAULT_NAMESPACE, hf_repo_name
from transformers import (
    DacConfig,
    DacModel,
    EncodecConfig,
    EncodecModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
)

from singsong.models import dac, htdemucs
from singsong.models.built_in import ADAPTERS
from singsong.models.catalogue import KNOWN_MODELS, Way, known_as
from singsong.models.downloads import is_here, model_files
from singsong.models.lite.bundled import weights_path
from singsong.models.registry import MODEL_ROLES
from singsong.models.spleeter import packaged_checkpoint
from singsong.models.ssl_features import KINDS
from singsong.models.weights import WeightsError
from singsong.pipelines.recipe_arguments import PROFILES
from singsong.schemas.recipe import ModelSpec
from tests.support.small_checkpoints import DEMUCS_SOURCES

BY_SPEC = {(model.role, model.spec): model for model in KNOWN_MODELS}


def test_each_adapter_has_a_model_and_each_model_an_adapter() -> None:
    adapters = {(role, name) for role in MODEL_ROLES for name in ADAPTERS[role]}
    assert {(model.role, model.name) for model in KNOWN_MODELS} == adapters
    assert len(BY_SPEC) == len(KNOWN_MODELS)


def test_an_adapter_gets_its_models_in_one_way() -> None:
    ways: dict[str, set[Way]] = {}
    for model in KNOWN_MODELS:
        ways.setdefault(model.name, set()).add(model.way)
    assert {name for name, found in ways.items() if len(found) > 1} == set()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_models_of_each_profile_are_listed(profile: str) -> None:
    for role, text in PROFILES[profile].items():
        spec = ModelSpec.parse(text)
        assert (role, f"{spec.name}:{spec.source}" if spec.source else spec.name) in BY_SPEC


def test_an_adapters_first_model_is_its_default() -> None:
    defaults = {
        ("separator", "demucs"): htdemucs.DEFAULT_SOURCE,
        ("acoustic", "dac"): dac.DEFAULT_SOURCE,
        **{("semantic", kind): KINDS[kind].source for kind in KINDS},
    }
    for (role, name), source in defaults.items():
        known = known_as(role, ModelSpec(name=name))
        assert known is not None
        assert known.spec == f"{name}:{source}"


def test_a_spec_has_the_entry_of_its_source_whatever_its_options() -> None:
    known = known_as("acoustic", ModelSpec.parse("dac:descript/dac_44khz,coarse=2"))
    assert known is BY_SPEC["acoustic", "dac:descript/dac_44khz"]
    assert known_as("acoustic", ModelSpec.parse("of-a-plugin:descript/dac_44khz")) is None
    assert known_as("semantic", ModelSpec.parse("dac")) is None


def test_repositories_are_those_that_the_adapters_ask() -> None:
    for model in KNOWN_MODELS:
        source = ModelSpec.parse(model.spec).source
        if model.way is Way.DEMUCS:
            assert model.origin == f"{DEFAULT_NAMESPACE}/{hf_repo_name(source)}"
        elif model.way is Way.HUB:
            assert model.origin == source


def test_sizes_of_packaged_weights_are_those_of_their_files() -> None:
    files = {
        ("separator", "spleeter"): packaged_checkpoint(),
        ("acoustic", "lite:1"): weights_path("acoustic", "1"),
        ("acoustic", "lite:2"): weights_path("acoustic", "2"),
        ("semantic", "lite:1"): weights_path("semantic", "1"),
    }
    for key, path in files.items():
        assert BY_SPEC[key].megabytes == pytest.approx(path.stat().st_size / 1e6, rel=0.25)
        assert is_here(BY_SPEC[key])


def _dac(n_codebooks: int, *strides: int) -> DacModel:
    return DacModel(DacConfig(n_codebooks=n_codebooks, downsampling_ratios=strides))


@pytest.mark.parametrize(
    ("role", "spec", "bytes_each", "network"),
    [
        ("acoustic", "dac:descript/dac_16khz", 4, lambda: _dac(12, 2, 4, 5, 8)),
        ("acoustic", "dac:descript/dac_24khz", 4, lambda: _dac(32, 2, 4, 5, 8)),
        ("acoustic", "dac:descript/dac_44khz", 4, lambda: _dac(9, 2, 4, 8, 8)),
        (
            "acoustic",
            "encodec:facebook/encodec_24khz",
            4,
            lambda: EncodecModel(EncodecConfig()),
        ),
        ("semantic", "hubert:facebook/hubert-base-ls960", 4, lambda: HubertModel(HubertConfig())),
        (
            "semantic",
            "w2v-bert:facebook/w2v-bert-2.0",
            4,
            lambda: Wav2Vec2BertModel(Wav2Vec2BertConfig()),
        ),
        ("separator", "demucs:hdemucs_mmi", 2, lambda: HDemucs(DEMUCS_SOURCES, channels=48)),
    ],
)
def test_sizes_are_those_of_networks_of_the_published_shape(
    role: str, spec: str, bytes_each: int, network: Callable[[], Any]
) -> None:
    with torch.device("meta" if bytes_each == 4 else "cpu"):
        values = sum(tensor.numel() for tensor in network().state_dict().values())
    assert BY_SPEC[role, spec].megabytes == pytest.approx(values * bytes_each / 1e6, rel=0.01)


def test_what_is_got_by_hand_is_never_taken_to_be_here(tmp_path: Path) -> None:
    by_hand = [model for model in KNOWN_MODELS if model.way is Way.HAND]
    assert {model.name for model in by_hand} == {"lyra", "mdx"}
    for model in by_hand:
        assert not is_here(model)
        with pytest.raises(WeightsError, match=r"must be fetched by hand: git clone .*; then name"):
            model_files(model.role, ModelSpec.parse(model.spec))
        spec = ModelSpec(name=model.name, source=str(tmp_path))
        assert model_files(model.role, spec) == []
