"""The two models that are trained: their classes, their sizes, and how they predict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

from singsong.training import accompaniment_model, fine_model
from singsong.training.accompaniment_model import AccompanimentConfig, AccompanimentModel
from singsong.training.featurization import ModelKind
from singsong.training.fine_model import FineConfig, FineModel
from singsong.training.presets import PRESETS, preset

Model: TypeAlias = AccompanimentModel | FineModel
ModelConfig: TypeAlias = AccompanimentConfig | FineConfig


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A kind of model.

    Attributes:
        kind: Which kind.
        model_class: Its class.
        config_class: The class of its config.
        target_logits: Takes a model, the tokens that are given and those to predict, int64 [batch,
            tokens] each; returns float32 [batch, target tokens, vocabulary].
    """

    kind: ModelKind
    model_class: type[Model]
    config_class: type[ModelConfig]
    target_logits: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]

    def new_config(self, preset_name: str, *, vocab_size: int, **fields: Any) -> ModelConfig:
        """Returns the config of a new model.

        Args:
            preset_name: Its size.
            vocab_size: Number of different tokens.
            fields: Other fields of the config.

        Raises:
            ValueError: The preset is unknown.
        """
        sizes = preset(PRESETS[self.kind], preset_name)
        return self.config_class(vocab_size=vocab_size, **sizes, **fields)


ARCHITECTURES: Mapping[ModelKind, Architecture] = {
    ModelKind.ACCOMPANIMENT: Architecture(
        kind=ModelKind.ACCOMPANIMENT,
        model_class=AccompanimentModel,
        config_class=AccompanimentConfig,
        target_logits=accompaniment_model.target_logits,
    ),
    ModelKind.FINE: Architecture(
        kind=ModelKind.FINE,
        model_class=FineModel,
        config_class=FineConfig,
        target_logits=fine_model.target_logits,
    ),
}
