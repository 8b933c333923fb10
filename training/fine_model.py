"""The fine model: coarse tokens first, then the fine tokens that belong to them."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import T5Config
from transformers.modeling_outputs import CausalLMOutputWithPast

from singsong.training.t5_layers import Float32Linear, SingsongStack, T5xInitialised
from singsong.training.vocabulary import PAD, SOS


@strict
class FineConfig(T5Config):
    """Geometry of a `FineModel`, and what its tokens mean.

    Attributes:
        relative_positions: T5's relative positions instead of fixed sinusoids.
        data: What the model was trained on: `Provenance.to_json`.

    Default: 4.4 points to AudioLM, which names relative positions and a plain MLP's size.
    """

    model_type = "singsong-fine"

    feed_forward_proj: str = "gelu"
    relative_positions: bool = True
    is_encoder_decoder: bool = False
    is_decoder: bool = True
    pad_token_id: int | None = PAD
    bos_token_id: int | None = SOS
    eos_token_id: int | list[int] | None = None
    data: dict[str, Any] | None = None


class FineModel(T5xInitialised):
    """A decoder-only language model: T5's decoder without cross-attention.

    `FineModel.from_pretrained(folder)` opens the folder `model/` of a checkpoint.

    Paper: 3.3. Default: the size of AudioLM's models; logits are not tied to the embedding.
    """

    config_class = FineConfig

    def __init__(self, config: FineConfig) -> None:
        super().__init__(config)
        self.decoder = SingsongStack(config)
        for block in self.decoder.block:
            del block.layer[1]  # its cross-attention
        self.lm_head = Float32Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Returns the embedding of the tokens."""
        embedding: nn.Module = self.decoder.embed_tokens
        return embedding

    def forward(
        self, input_ids: torch.Tensor, *, logits_to_keep: int = 0
    ) -> CausalLMOutputWithPast:
        """Returns the logits of the token after each of the last positions.

        Args:
            input_ids: int64 [batch, positions].
            logits_to_keep: How many positions, from the end; 0 keeps all.
        """
        hidden = self.decoder(input_ids=input_ids, use_cache=False).last_hidden_state
        return CausalLMOutputWithPast(logits=self.lm_head(hidden[:, -logits_to_keep:]))


def target_logits(model: nn.Module, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns the logits of each fine position, given all positions before it.

    Args:
        model: A `FineModel`, or one wrapped for several processes.
        source: int64 [batch, coarse positions].
        target: int64 [batch, fine positions].

    Returns:
        float32 [batch, fine positions, vocabulary]; no loss is on the coarse tokens.
    """
    tokens = torch.cat([source, target[:, :-1]], 1)
    started = nn.functional.pad(tokens, (1, 0), value=SOS)
    logits: torch.Tensor = model(started, logits_to_keep=target.shape[1]).logits
    return logits
