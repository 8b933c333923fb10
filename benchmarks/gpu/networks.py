"""The models to measure: those that were named, and networks of real size with random weights.

Random weights take as long as published ones, and a device computes them in the same order; only
how often a rounding error changes a code depends on the weights.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.gpu.material import other_clips
from benchmarks.gpu.plan import LITE, ROLES, Plan
from singsong.models.registry import load_ssl_features
from singsong.schemas.recipe import EncodeRecipe, ModelSpec
from singsong.schemas.separation import NO_SEPARATION_LIMITS

_TINY_HTDEMUCS = {
    "channels": 8,
    "t_layers": 2,
    "t_heads": 2,
    "bottom_channels": 16,
    "segment": Fraction(1, 2),
}
_TINY_DAC = {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "codebook_size": 64}
_TINY_W2V_BERT = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
LAYER = 7
"""The layer of w2v-BERT 2.0 whose output is encoded; later ones are not computed."""


def chains(plan: Plan) -> tuple[str, ...]:
    """Returns the chains to measure: the lite profile, and the models of the plan if others."""
    named = {role: ModelSpec.parse(spec) for role, spec in plan.models.items()}
    return ("lite",) if named == LITE else ("lite", "networks")


def separators(plan: Plan) -> tuple[str, ...]:
    """Returns the chains whose separators differ."""
    same = plan.models.get("separator") == str(LITE["separator"])
    return ("lite",) if same else ("lite", "networks")


def chain_specs(chain: str, plan: Plan) -> dict[str, ModelSpec]:
    """Returns the models of a chain, by role.

    Raises:
        ValueError: As `spec_of`.
    """
    return LITE if chain == "lite" else {role: spec_of(role, plan) for role in ROLES}


def recipe_of(chain: str, plan: Plan, *, device: str, dtype: str, batch_clips: int) -> EncodeRecipe:
    """Returns the recipe of a chain. Random weights separate nothing, so no vocals are refused.

    Raises:
        ValueError: As `spec_of`.
    """
    specs = chain_specs(chain, plan)
    return EncodeRecipe(
        separator=specs["separator"],
        acoustic=specs["acoustic"],
        semantic=specs["semantic"],
        clip_seconds=plan.sizes.clip_seconds,
        separation=NO_SEPARATION_LIMITS,
        device=device,
        dtype=dtype,
        batch_clips=batch_clips,
    )


def spec_of(role: str, plan: Plan) -> ModelSpec:
    """Returns the model of a role: the one that was named, or a network with random weights.

    A semantic encoder without a codebook gets one: frames of clips that are not compared.

    Raises:
        ValueError: The spec is wrong, or its weights are missing.
    """
    named = plan.models.get(role)
    spec = ModelSpec.parse(named) if named else _random(role, plan)
    wants_codebook = role == "semantic" and spec.name in ("hubert", "w2v-bert")
    if wants_codebook and "codebook" not in dict(spec.options):
        codebook = plan.path_of("codebook.safetensors")
        if not codebook.exists():
            _save_codebook(codebook, spec, plan)
        options = (*spec.options, ("codebook", str(codebook)))
        spec = ModelSpec(name=spec.name, source=spec.source, options=tuple(sorted(options)))
    return spec


def _random(role: str, plan: Plan) -> ModelSpec:
    path = plan.path_of(role)
    if role == "separator":
        path = path / "model.safetensors"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        {"separator": _save_htdemucs, "acoustic": _save_dac, "semantic": _save_w2v_bert}[role](
            path, tiny=plan.tiny
        )
    name = {"separator": "demucs", "acoustic": "dac", "semantic": "w2v-bert"}[role]
    options = (("layer", str(LAYER)),) if role == "semantic" else ()
    return ModelSpec(name=name, source=str(path), options=options)


def _save_htdemucs(path: Path, *, tiny: bool) -> None:
    from benchmarks.support.demucs_files import (
        PUBLISHED_HTDEMUCS,
        htdemucs,
        save_demucs_safetensors,
    )

    save_demucs_safetensors(htdemucs(**(_TINY_HTDEMUCS if tiny else PUBLISHED_HTDEMUCS)), path)


def _save_dac(folder: Path, *, tiny: bool) -> None:
    """Writes a DAC with the settings of the published 16 kHz one."""
    from transformers import DacConfig, DacModel

    settings = _TINY_DAC if tiny else {}
    config = DacConfig(
        downsampling_ratios=(2, 4, 5, 8), n_codebooks=12, sampling_rate=16000, **settings
    )
    model = DacModel(config)
    for parameter in model.parameters():
        # Weights of the usual size of 0.02 would leave nothing of the signal after ten layers.
        if parameter.ndim == 3:
            torch.nn.init.xavier_normal_(parameter)
    model.save_pretrained(folder)


def _save_w2v_bert(folder: Path, *, tiny: bool) -> None:
    """Writes the first layers of a w2v-BERT 2.0, whose settings are the defaults of its class."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    settings = _TINY_W2V_BERT if tiny else {}
    model = Wav2Vec2BertModel(Wav2Vec2BertConfig(num_hidden_layers=LAYER, **settings))
    model.save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)


def _save_codebook(path: Path, spec: ModelSpec, plan: Plan) -> None:
    features = load_ssl_features(spec, device="cpu", dtype="float32", batch_clips=1)
    frames = features.features(other_clips(plan, features.sample_rate_hz))
    frames = frames.reshape(-1, features.dimensions)
    mean, std = frames.mean(axis=0), frames.std(axis=0) + 1e-6
    chosen = np.random.default_rng(0).permutation(len(frames))[: plan.sizes.codes]
    tensors = {"centroids": (frames[chosen] - mean) / std, "mean": mean, "std": std}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.from_numpy(value) for name, value in tensors.items()}, path)
