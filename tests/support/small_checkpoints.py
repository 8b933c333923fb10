"""Small checkpoints with random weights of the real model classes, in their own file formats."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from demucs.htdemucs import HTDemucs
from safetensors.torch import save_file
from transformers import (
    DacConfig,
    DacModel,
    EncodecConfig,
    EncodecModel,
    HubertConfig,
    HubertModel,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2FeatureExtractor,
)

DEMUCS_SOURCES = ["drums", "bass", "other", "vocals"]


class Malice:
    """Pickles to a call of `os.mkdir`, which leaves a trace where it is executed."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self._marker),)


def build_htdemucs(seed: int = 0, *, sources: list[str] | None = None) -> HTDemucs:
    """Returns a hybrid transformer Demucs for 44.1 kHz stereo with segments of 0.5 s."""
    torch.manual_seed(seed)
    return HTDemucs(
        sources or DEMUCS_SOURCES,
        channels=8,
        depth=4,
        t_layers=2,
        t_heads=2,
        bottom_channels=16,
        segment=Fraction(1, 2),
    ).eval()


def save_demucs_th(model: torch.nn.Module, path: Path) -> None:
    """Writes a model as `demucs.states.serialize_model` does, without its training package."""
    args, kwargs = model._init_args_kwargs
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    package = {
        "klass": type(model),
        "args": args,
        "kwargs": kwargs,
        "state": state,
        "training_args": {"epochs": 1, "optim": {"lr": 3e-4}},
    }
    torch.save(package, path)


# What the published configurations say, but for the width of their layers.
DACS: dict[int, dict[str, Any]] = {
    16000: {"downsampling_ratios": (2, 4, 5, 8), "n_codebooks": 12},
    24000: {"downsampling_ratios": (2, 4, 5, 8), "n_codebooks": 32},
    44100: {"downsampling_ratios": (2, 4, 8, 8), "n_codebooks": 9},
}
ENCODECS: dict[int, dict[str, Any]] = {
    24000: {},
    32000: {
        "upsampling_ratios": (8, 5, 4, 4),
        "target_bandwidths": (2.2,),
        "codebook_size": 2048,
        "use_causal_conv": False,
        "use_conv_shortcut": False,
    },
    48000: {
        "target_bandwidths": (3.0, 6.0, 12.0, 24.0),
        "audio_channels": 2,
        "use_causal_conv": False,
        "norm_type": "time_group_norm",
        "normalize": True,
        "chunk_length_s": 1.0,
        "overlap": 0.01,
    },
}


def save_dac(folder: Path, *, rate_hz: int = 16000, codebook_size: int = 64, seed: int = 0) -> Path:
    """Writes a DAC with the geometry of a published one, by default with small codebooks."""
    torch.manual_seed(seed)
    config = DacConfig(
        encoder_hidden_size=4,
        decoder_hidden_size=32,
        codebook_size=codebook_size,
        sampling_rate=rate_hz,
        **DACS[rate_hz],
    )
    model = DacModel(config)
    for parameter in model.parameters():
        # Weights of the usual size of 0.02 would leave nothing of the signal after ten layers.
        if parameter.ndim == 3:
            torch.nn.init.xavier_normal_(parameter)
    model.save_pretrained(folder)
    return folder


def save_encodec(folder: Path, *, rate_hz: int = 24000, seed: int = 0) -> Path:
    """Writes an EnCodec with the geometry of a published one."""
    torch.manual_seed(seed)
    config = EncodecConfig(
        num_filters=4, hidden_size=16, sampling_rate=rate_hz, **ENCODECS[rate_hz]
    )
    model = EncodecModel(config).eval()
    for name, parameter in model.named_parameters():
        # With the usual gains, little of the signal would be left after ten layers.
        if name.endswith("original0"):
            parameter.data *= 2
    _spread_codebooks(model)
    model.save_pretrained(folder)
    return folder


@torch.no_grad()
def _spread_codebooks(model: EncodecModel) -> None:
    """Puts the codes, which a new model leaves at zero, where the latents of noise lie."""
    levels = torch.logspace(-2, 0, 16)[:, None, None]
    noise = torch.randn(16, model.config.audio_channels, 16_000) * levels
    residual = model.encoder(noise)  # [clips, dim, frames]
    for layer in model.quantizer.layers:
        book = layer.codebook.embed
        seen = residual.transpose(1, 2).flatten(0, 1)
        drawn = seen[torch.randint(len(seen), (len(book),))]
        book.copy_(drawn + torch.randn_like(book) * seen.std(0) / 2)
        residual = residual - layer.decode(layer.encode(residual))


def save_hubert(folder: Path, *, stable: bool = False, seed: int = 0) -> Path:
    """Writes a HuBERT of four layers, like the base (or, if stable, the large) one in kind."""
    torch.manual_seed(seed)
    config = HubertConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=[16] * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        do_stable_layer_norm=stable,
        feat_extract_norm="layer" if stable else "group",
        conv_bias=stable,
    )
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def save_w2v_bert(folder: Path, *, seed: int = 0) -> Path:
    """Writes a w2v-BERT 2.0 of four layers."""
    torch.manual_seed(seed)
    config = Wav2Vec2BertConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        feature_projection_input_dim=160,
    )
    Wav2Vec2BertModel(config).save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    return folder


def save_codebook(
    path: Path, *, dimensions: int = 32, codes: int = 64, std: float = 0.5, seed: int = 0
) -> Path:
    """Writes a semantic codebook of random centroids."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "centroids": torch.randn(codes, dimensions, generator=generator),
        "mean": torch.zeros(dimensions),
        "std": torch.full((dimensions,), std),
    }
    save_file(tensors, path)
    return path
