"""Where a run starts: anew, with the weights of another run, or from its last checkpoint."""

from __future__ import annotations

from typing import Any

import torch

from singsong.models.weights import load_pretrained
from singsong.schemas.json_values import recipe_differences
from singsong.training.architectures import ARCHITECTURES, Model, ModelConfig
from singsong.training.checkpoints import Checkpoint, find_model, list_checkpoints
from singsong.training.featurization import AnyView
from singsong.training.presets import ACCOMPANIMENT
from singsong.training.provenance import Provenance, code_differences, differences, read_provenance
from singsong.training.train_config import TrainConfig, config_differences


def resume_point(
    config: TrainConfig, provenance: Provenance[AnyView], *, resume: bool
) -> Checkpoint | None:
    """Returns the last checkpoint of the run in the output; None if there is none.

    Args:
        config: The settings of the run.
        provenance: What the model is to be trained on.
        resume: Whether the run may be resumed.

    Raises:
        ValueError: There is a run that may not be resumed, or that had other settings, another
            kind of model, another recipe or other codebooks.
    """
    checkpoints = list_checkpoints(config.output)
    if not checkpoints:
        return None
    last = checkpoints[-1]
    if not resume:
        raise ValueError(
            f"{config.output} holds a run at step {last.step}: pass --resume to continue it, or "
            "choose another output"
        )
    lines = config_differences(last.config, config)
    lines += differences(read_provenance(last.model, type(provenance.view)), provenance)
    if lines:
        raise ValueError(f"{config.output} cannot resume with other settings ({'; '.join(lines)})")
    return last


def new_or_saved_model(
    config: TrainConfig,
    provenance: Provenance[AnyView],
    checkpoint: Checkpoint | None,
    *,
    vocab_size: int,
) -> Model:
    """Returns the model that a run starts with, in float32 on the CPU.

    Args:
        config: The settings of the run.
        provenance: What the model is trained on.
        checkpoint: The checkpoint to resume from, if any.
        vocab_size: Number of different tokens.

    Raises:
        ValueError: The preset is unknown, or `start_from` names no model that fits.
    """
    architecture = ARCHITECTURES[config.view.kind]
    if checkpoint is not None:
        saved: Model = load_pretrained(architecture.model_class, str(checkpoint.model))
        return saved
    fields: dict[str, Any] = {"dropout_rate": config.dropout, "data": provenance.to_json()}
    if config.relative_positions is not None:
        fields["relative_positions"] = config.relative_positions
    torch.manual_seed(config.seed)
    model_config = architecture.new_config(config.preset, vocab_size=vocab_size, **fields)
    model = architecture.model_class(model_config)
    if config.start_from is not None:
        _take_weights(model, config.start_from, provenance)
    return model


def _take_weights(model: Model, start_from: str, provenance: Provenance[AnyView]) -> None:
    """Gives a new model the weights of another run, if their codes and shapes are the same."""
    folder = find_model(start_from)
    older = read_provenance(folder, type(provenance.view))
    if lines := code_differences(older, provenance):
        raise ValueError(f"{folder} was trained on other codes ({'; '.join(lines)})")
    trained = load_pretrained(type(model), str(folder))
    if lines := recipe_differences(_shape(trained.config), _shape(model.config)):
        raise ValueError(f"{folder} has another shape ({'; '.join(lines)})")
    model.load_state_dict(trained.state_dict())


def _shape(config: ModelConfig) -> dict[str, object]:
    names = (*ACCOMPANIMENT["base"], "relative_positions")
    return {name: getattr(config, name) for name in names}
