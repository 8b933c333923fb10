"""Draws a sequence token by token, each from its own range of the vocabulary.

A run of forced tokens is read at once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from transformers import Cache

from singsong.schemas.arrays import TokenArray
from singsong.training.architectures import Model
from singsong.training.t5_layers import SingsongStack
from singsong.training.vocabulary import SOS

FREE = -1
"""Marks the positions of a forced sequence where a token is drawn."""


@torch.no_grad()
def sample_tokens(
    model: Model,
    *,
    forced: torch.Tensor,
    ranges: TokenArray,
    uniforms: torch.Tensor,
    temperature: float,
    encoded: torch.Tensor | None = None,
    cached: bool = True,
    on_token: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Returns int64 [batch, positions] drawn from a model, the forced tokens verbatim.

    Args:
        model: The model, in evaluation mode.
        forced: int64 [batch, positions], on any device; `FREE` in the same columns of all rows.
        ranges: int64 [positions, 2], see `Vocabulary.ranges`.
        uniforms: float64 [batch, positions] in [0, 1): all the randomness.
        temperature: Divides the logits; 0 takes the most likely token.
        encoded: Output of the encoder, float [batch, source positions, width]; None without one.
        cached: Whether keys and values are cached. If not, each step reads the whole sequence.
        on_token: Called after each position that is drawn.

    Raises:
        ValueError: The temperature is negative, or rows are free at different positions.

    Paper: 3.3: no token outside the range of its position can be drawn; no top-k.
    """
    tokens = nn.functional.pad(forced, (1, 0), value=SOS).to(model.lm_head.weight.device)
    uniforms = uniforms.to(tokens.device)
    reader = _Reader(model.decoder, encoded=encoded, cached=cached)
    for position in _free_positions(forced, temperature):
        hidden = reader.read_to(tokens[:, : position + 1])
        first, end = ranges[position].tolist()
        logits = nn.functional.linear(hidden.float(), model.lm_head.weight[first:end].float())
        tokens[:, position + 1] = first + draw(logits, uniforms[:, position], temperature)
        if on_token is not None:
            on_token()
    return tokens[:, 1:]


def _free_positions(forced: torch.Tensor, temperature: float) -> list[int]:
    if temperature < 0:
        raise ValueError(f"temperature must not be negative, found {temperature}")
    free = forced == FREE
    if not torch.equal(free, free[:1].expand_as(free)):
        raise ValueError("forced tokens must stand at the same positions in all rows")
    positions: list[int] = free[0].nonzero()[:, 0].tolist()
    return positions


def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns an index for each row of logits, by inverting the distribution.

    Args:
        logits: float [batch, choices].
        uniforms: float64 [batch] in [0, 1), on the device of the logits.
        temperature: Divides the logits; 0 takes the largest.

    Returns:
        int64 [batch].

    >>> logits = torch.tensor([[0.0, 0.0, -torch.inf, 0.0]]).repeat(4, 1)
    >>> draw(logits, torch.tensor([0.0, 0.34, 0.67, 0.99], dtype=torch.float64), 1.0).tolist()
    [0, 1, 3, 3]
    """
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
    total = cumulative[:, -1:]
    thresholds = uniforms[:, None] * total
    indices = torch.searchsorted(cumulative, thresholds, right=True)[:, 0]
    last_possible = torch.searchsorted(cumulative, total.contiguous())[:, 0]
    return torch.minimum(indices, last_possible)


class _Reader:
    """Feeds a sequence to a decoder piece by piece."""

    def __init__(
        self, decoder: SingsongStack, *, encoded: torch.Tensor | None, cached: bool
    ) -> None:
        self._decoder = decoder
        self._encoded = encoded
        self._cached = cached
        self._cache: Cache | None = None
        self._read = 0

    def read_to(self, tokens: torch.Tensor) -> torch.Tensor:
        """Returns the state after the last token; the tokens extend those of the previous call.

        Args:
            tokens: int64 [batch, positions], from the first position.

        Returns:
            float [batch, width].
        """
        output = self._decoder(
            input_ids=tokens[:, self._read :],
            encoder_hidden_states=self._encoded,
            past_key_values=self._cache,
            use_cache=self._cached,
        )
        if self._cached:
            self._cache, self._read = output.past_key_values, tokens.shape[1]
        state: torch.Tensor = output.last_hidden_state[:, -1]
        return state
