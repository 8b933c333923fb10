"""The two models that are trained, and what each makes of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import nn

from singsong.training import accompaniment_model, fine_model
from singsong.training.accompaniment_model import AccompanimentConfig, AccompanimentModel
from singsong.training.featurization import Featurizer, FineFeaturizer, PairFeaturizer
from singsong.training.fine_model import FineConfig, FineModel
from singsong.training.presets import ACCOMPANIMENT, FINE, preset

STAGES = ("accompaniment", "fine")

Tensors = Mapping[str, torch.Tensor]


class Stage(Protocol):
    """A model that is trained on the batches of one featurizer."""

    model_class: Any
    lengths: tuple[int, int]
    """Tokens that are given, and tokens that are predicted."""
    first_scored: int
    """Tokens from this one on count for the likelihood that is reported."""

    def new_config(self, preset_name: str, **fields: Any) -> Any:
        """Returns the config of a new model. Raises ValueError for an unknown preset."""
        ...

    def split(self, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns what is given and what is predicted, int64 [batch, tokens] each."""
        ...

    def target_logits(
        self, model: nn.Module, source: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Returns float32 [batch, target tokens, vocabulary]."""
        ...


class AccompanimentStage:
    """The instrumental, given the vocals.

    Paper: 4.3: the likelihood is that of the coarse codes.
    """

    model_class = AccompanimentModel

    def __init__(self, featurizer: PairFeaturizer) -> None:
        self._vocabulary = featurizer.vocabulary
        self.lengths = (featurizer.input_tokens.length, featurizer.target_tokens.length)
        self.first_scored = self._vocabulary.coarse.first

    def new_config(self, preset_name: str, **fields: Any) -> Any:
        """Returns the config of a new model. Raises ValueError for an unknown preset."""
        sizes = preset(ACCOMPANIMENT, preset_name)
        return AccompanimentConfig(vocab_size=self._vocabulary.size, **sizes, **fields)

    def split(self, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the tokens of the vocals and those of the instrumental."""
        return batch["input_tokens"], batch["target_tokens"]

    def target_logits(
        self, model: nn.Module, source: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Returns float32 [batch, target tokens, vocabulary]."""
        return accompaniment_model.target_logits(model, source, target)


class FineStage:
    """The fine codes, given the coarse ones."""

    model_class = FineModel

    def __init__(self, featurizer: FineFeaturizer) -> None:
        self._vocabulary = featurizer.vocabulary
        coarse, total = featurizer.coarse_length, featurizer.lengths["tokens"]
        self.lengths = (coarse, total - coarse)
        self.first_scored = self._vocabulary.fine.first

    def new_config(self, preset_name: str, **fields: Any) -> Any:
        """Returns the config of a new model. Raises ValueError for an unknown preset."""
        sizes = preset(FINE, preset_name)
        return FineConfig(vocab_size=self._vocabulary.size, **sizes, **fields)

    def split(self, batch: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the coarse tokens and the fine ones."""
        coarse, _ = self.lengths
        return batch["tokens"][:, :coarse], batch["tokens"][:, coarse:]

    def target_logits(
        self, model: nn.Module, source: torch.Tensor, target: torch.Tensor
    ) -> torch.Tensor:
        """Returns float32 [batch, fine tokens, vocabulary]."""
        return fine_model.target_logits(model, source, target)


def stage_of(featurizer: Featurizer) -> Stage:
    """Returns the stage that the features are for.

    Raises:
        ValueError: They are for none.
    """
    if isinstance(featurizer, PairFeaturizer):
        return AccompanimentStage(featurizer)
    if isinstance(featurizer, FineFeaturizer):
        return FineStage(featurizer)
    raise ValueError(f"no model is trained on a {type(featurizer).__name__}")
