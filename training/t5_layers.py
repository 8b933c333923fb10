"""What both models change in T5: attention, positions, dropout, initialisation, logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import Cache, T5Config
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import (
    T5Attention,
    T5Block,
    T5LayerCrossAttention,
    T5LayerNorm,
    T5LayerSelfAttention,
    T5PreTrainedModel,
    T5Stack,
)

_TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a standard normal distribution cut off at two."""


def sinusoids(positions: torch.Tensor, *, width: int) -> torch.Tensor:
    """Returns the fixed embeddings of positions.

    Args:
        positions: Integers [positions].
        width: Size of an embedding; even, at least 4.

    Returns:
        float32 [positions, width]: sines in the first half, cosines in the second.

    Paper: 4.4, fixed sinusoidal positions. Default: the form of MT3, by some of the same authors:
        the wavelengths go from 2 pi to 20000 pi.

    >>> sinusoids(torch.tensor([0]), width=4).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    half = width // 2
    exponents = torch.arange(half, device=positions.device, dtype=torch.float64) / (half - 1)
    angles = positions[:, None] * torch.exp(-math.log(1e4) * exponents)
    return torch.cat([angles.sin(), angles.cos()], -1).float()


class UnbiasedAttention(T5Attention):
    """T5's attention without position bias, so that fused kernels can run.

    The base class adds a bias of zeros [1, heads, queries, keys] where there are no relative
    positions, and flash attention cannot run with any bias.
    """

    def __init__(self, config: T5Config, *, layer_idx: int, is_causal: bool) -> None:
        super().__init__(config, layer_idx=layer_idx, is_causal=is_causal)
        self.has_relative_attention_bias = True  # makes the base class call compute_bias

    def compute_bias(self, *_args: object, **_kwargs: object) -> None:
        """Returns no bias."""


class SharedDropout(nn.Dropout):
    """Dropout with one mask for all positions.

    Paper: 4.4, as in t5x.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Returns [batch, positions, features] with the same features dropped everywhere."""
        kept = torch.ones_like(input[:, :1])
        return input * nn.functional.dropout(kept, self.p, self.training)


class DroppedValues(nn.Linear):
    """The projection to the values of attention, with dropout.

    t5x drops attention weights with one mask for all queries. A weight multiplies its value, so
    dropping the value is equivalent, and attention without dropout can run in fused kernels.

    Paper: 4.4, as in t5x.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__(config.d_model, config.num_heads * config.d_kv, bias=False)
        self.heads, self.rate = config.num_heads, config.dropout_rate

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Returns values [batch, keys, heads * size], with keys dropped in each head."""
        values = super().forward(input)
        kept = torch.ones_like(values[..., : self.heads, None])
        kept = nn.functional.dropout(kept, self.rate, self.training)
        return (values.unflatten(-1, (self.heads, -1)) * kept).flatten(-2)


class Float32Linear(nn.Linear):
    """A projection in float32 even under autocast: t5x computes its logits so."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
        """Returns float32 logits."""
        if input.is_meta:  # the meta device has no autocast
            return nn.functional.linear(input, self.weight)
        with torch.autocast(input.device.type, enabled=False):
            return nn.functional.linear(input.float(), self.weight.float())


class T5xInitialised(T5PreTrainedModel):
    """A T5 whose weight initialisation follows t5x.

    Kernels are normal with variance 1 / inputs, truncated at two deviations outside attention. The
    query kernels are divided by the square root of the head's size, since T5 does not scale in
    attention. Embeddings are standard normal.

    Paper: 4.4, as in t5x; `transformers` does not truncate.
    """

    _keep_in_fp32_modules = None

    @classmethod
    def is_custom_code(cls) -> bool:
        """Returns False, so that `transformers` initialises this model as one of its own.

        For custom code it skips modules without own parameters, such as attention.
        """
        return False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, T5LayerNorm):
            init.ones_(module.weight)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight)
        elif isinstance(module, nn.Linear):
            _draw_cut_off(module)
        elif isinstance(module, T5Attention):
            unscaled = module.q.in_features * module.key_value_proj_dim
            init.normal_(module.q.weight, std=unscaled**-0.5)
            for kernel in (module.k, module.v, module.o):
                init.normal_(kernel.weight, std=kernel.in_features**-0.5)
            if hasattr(module, "relative_attention_bias"):
                weight = module.relative_attention_bias.weight
                bound = math.sqrt(6 / sum(weight.shape))
                init.uniform_(weight, -bound, bound)


class SingsongStack(T5xInitialised, T5Stack):
    """An encoder or a decoder with fixed sinusoidal or relative positions.

    Paper: 4.4; relative positions are the ablation RelPos.
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        for index, block in enumerate(self.block):
            for layer in block.layer:
                if isinstance(layer, T5LayerCrossAttention):
                    layer.EncDecAttention = UnbiasedAttention(
                        config, layer_idx=index, is_causal=False
                    )
                elif isinstance(layer, T5LayerSelfAttention) and not config.relative_positions:
                    layer.SelfAttention = UnbiasedAttention(
                        config, layer_idx=index, is_causal=config.is_decoder
                    )
        for module in list(self.modules()):
            if isinstance(module, T5Attention):
                module.v, module.dropout = DroppedValues(config), 0.0
            for name, child in module.named_children():
                if type(child) is nn.Dropout:
                    setattr(module, name, SharedDropout(child.p))
        if not config.is_decoder:  # its output has a dropout mask for each position
            self.dropout = nn.Identity()
            self.first_dropout = SharedDropout(config.dropout_rate)
            self.last_dropout = nn.Dropout(config.dropout_rate)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> BaseModelOutput:
        """Returns what `T5Stack.forward` returns, with the positions added to the embeddings."""
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if not self.config.relative_positions:
            _, count, width = inputs_embeds.shape
            read = 0 if past_key_values is None else past_key_values.get_seq_length()
            positions = read + torch.arange(count, device=inputs_embeds.device)
            inputs_embeds = inputs_embeds + sinusoids(positions, width=width).to(
                inputs_embeds.dtype
            )
        if self.is_decoder:
            decoded: BaseModelOutput = super().forward(
                inputs_embeds=inputs_embeds, past_key_values=past_key_values, **kwargs
            )
            return decoded
        encoded: BaseModelOutput = super().forward(
            inputs_embeds=self.first_dropout(inputs_embeds), **kwargs
        )
        encoded.last_hidden_state = self.last_dropout(encoded.last_hidden_state)
        return encoded


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switches a model to evaluation, without dropout, and afterwards back."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def compile_layers(model: nn.Module) -> None:
    """Compiles the layers of a model at their first use: equal layers share one compilation.

    Compiling the whole model would take longer the deeper it is.
    """
    for module in model.modules():
        if isinstance(module, T5Block):
            module.compile(dynamic=False)


def _draw_cut_off(linear: nn.Linear) -> None:
    """Inverts the truncated distribution: many times faster than `trunc_normal_` on a CPU."""
    weight = linear.weight
    if getattr(weight, "_is_hf_initialized", False):
        return  # loaded from a file
    inside = math.erf(math.sqrt(2))  # the probability of less than two deviations
    weight.uniform_(-inside, inside).erfinv_()
    weight.mul_(math.sqrt(2 / linear.in_features) / _TRUNCATED_STD)
