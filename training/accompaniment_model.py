"""The sequence-to-sequence model: tokens of the vocals in, tokens of the instrumental out."""

from __future__ import annotations

import copy
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

from singsong.training.t5_layers import Float32Linear, SingsongStack, T5xInitialised
from singsong.training.vocabulary import PAD, SOS


@strict
class AccompanimentConfig(T5Config):
    """Geometry of an `AccompanimentModel`, and what its tokens mean.

    Attributes:
        relative_positions: T5's relative positions instead of fixed sinusoids.
        data: What the model was trained on: `Provenance.to_json`.

    Paper: 4.4: T5 v1.1: gated GELU, untied logits, dropout 0.1.
    """

    model_type = "singsong-accompaniment"

    feed_forward_proj: str = "gated-gelu"
    relative_positions: bool = False
    pad_token_id: int | None = PAD
    eos_token_id: int | list[int] | None = None
    decoder_start_token_id: int | None = SOS
    data: dict[str, Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.scale_decoder_outputs = False  # as T5 v1.1; the base class derives it from tied logits


class AccompanimentModel(T5xInitialised, T5ForConditionalGeneration):
    """T5 v1.1 with fixed sinusoidal positions and untied logits.

    `AccompanimentModel.from_pretrained(folder)` opens the folder `model/` of a checkpoint.

    Paper: 3.3 and 4.4.
    """

    config_class = AccompanimentConfig
    _tied_weights_keys = {  # noqa: RUF012
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
    }

    def __init__(self, config: AccompanimentConfig) -> None:
        # Skips the constructor of T5ForConditionalGeneration, which would build its own stacks.
        super(T5ForConditionalGeneration, self).__init__(config)
        self.model_dim = config.d_model
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = SingsongStack(_stack_config(config, is_decoder=False))
        self.decoder = SingsongStack(_stack_config(config, is_decoder=True))
        self.lm_head = Float32Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()


def target_logits(model: nn.Module, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns the logits of each position of the target, given the positions before it.

    Args:
        model: An `AccompanimentModel`, or one wrapped for several processes.
        source: int64 [batch, source positions].
        target: int64 [batch, target positions].

    Returns:
        float32 [batch, target positions, vocabulary].
    """
    started = nn.functional.pad(target[:, :-1], (1, 0), value=SOS)
    logits: torch.Tensor = model(
        input_ids=source, decoder_input_ids=started, use_cache=False
    ).logits
    return logits


def _stack_config(config: AccompanimentConfig, *, is_decoder: bool) -> AccompanimentConfig:
    stack = copy.deepcopy(config)
    stack.is_decoder = is_decoder
    stack.use_cache = is_decoder
    if is_decoder:
        stack.num_layers = config.num_decoder_layers
    return stack
