"""Measures generation against `generate` of `transformers` on the same model, with its cache."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.device import free_memory, peak_gib, seconds
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.report import Report
from benchmarks.gpu.training import new_trainer, training_config
from singsong.generation.sampling import FREE, sample_tokens
from singsong.models.devices import set_numerics
from singsong.training.featurizer import Featurizer
from singsong.training.t5_layers import evaluation_mode
from singsong.training.vocabulary import SOS

_TEMPERATURE = 0.85


def measure(plan: Plan, report: Report) -> None:
    """Reports how fast windows are sampled from the codes of vocals, in float32."""
    set_numerics()
    first = plan.sizes.first_tokens
    with new_trainer(training_config(plan)) as trainer, evaluation_mode(trainer.model):
        device = plan.device
        bench = _Generation(trainer.model, trainer.data.featurizer, device)
        report.line(f"{plan.preset}, float32; a window is {bench.window} tokens.")
        report.table(
            *("windows at once", "tokens/s", f"the first {first}, tokens/s"),
            *("transformers' generate, tokens/s", "ratio", "peak GiB"),
        )
        for batch in plan.generated:
            with report.keep_going(f"generating {batch} windows"):
                free_memory(device)
                for draw in (bench.ours, bench.theirs):
                    draw(batch, 2)  # the first call chooses kernels
                tokens = batch * first
                ours = tokens / seconds(partial(bench.ours, batch, first), device)
                theirs = tokens / seconds(partial(bench.theirs, batch, first), device)
                whole_s = seconds(partial(bench.ours, batch, bench.window), device)
                report.row(
                    *(str(batch), f"{batch * bench.window / whole_s:,.0f}", f"{ours:,.0f}"),
                    *(f"{theirs:,.0f}", f"{ours / theirs:.1f}x", peak_gib(device)),
                )


class _Generation:
    """Draws tokens from one model in both ways."""

    def __init__(self, model: Any, featurizer: Featurizer, device: str) -> None:
        self._model, self._device = model, device
        self._ranges = featurizer.target_tokens.ranges
        self._given, self.window = featurizer.lengths.values()

    @torch.no_grad()
    def ours(self, batch: int, tokens: int) -> torch.Tensor:
        """Returns the first tokens of windows, as our sampler draws them."""
        return sample_tokens(
            self._model,
            forced=torch.full((batch, tokens), FREE, device=self._device),
            ranges=self._ranges[:tokens],
            uniforms=torch.from_numpy(np.random.default_rng(0).random((batch, tokens))),
            temperature=_TEMPERATURE,
            encoded=self._model.encoder(input_ids=self._source(batch)).last_hidden_state,
        )

    def theirs(self, batch: int, tokens: int) -> torch.Tensor:
        """Returns as many tokens, as `transformers` draws them."""
        drawn: torch.Tensor = self._model.generate(
            input_ids=self._source(batch),
            decoder_start_token_id=SOS,
            do_sample=True,
            top_k=0,
            temperature=_TEMPERATURE,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
        )
        return drawn

    def _source(self, batch: int) -> torch.Tensor:
        torch.manual_seed(0)
        size = self._model.config.vocab_size
        return torch.randint(2, size, (batch, self._given), device=self._device)
