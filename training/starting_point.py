"""Where a run starts: anew, with the weights of another run, or where it left off."""

from __future__ import annotations

from typing import Any

import torch

from singsong.models.weights import load_pretrained
from singsong.schemas.json_values import recipe_differences
from singsong.training.checkpoints import Checkpoint, find_model, list_checkpoints
from singsong.training.presets import ACCOMPANIMENT
from singsong.training.provenance import Provenance, code_differences, differences, read_provenance
from singsong.training.stages import Stage
from singsong.training.train_config import TrainConfig, config_differences


def resume_point(config: TrainConfig, provenance: Provenance, *, resume: bool) -> Checkpoint | None:
    """Returns the last checkpoint of the run in the output; None if there is none.

    Args:
        config: What the run is to do.
        provenance: What it is to be trained on.
        resume: Whether it may go on.

    Raises:
        ValueError: There is a run that may not go on, or that had other settings, another recipe or
            other codebooks.
    """
    checkpoints = list_checkpoints(config.output)
    if not checkpoints:
        return None
    last = checkpoints[-1]
    if not resume:
        raise ValueError(
            f"{config.output} holds a run at step {last.step}: pass --resume to go on with it, or "
            "choose another output"
        )
    lines = config_differences(last.config, config)
    lines += differences(read_provenance(last.model), provenance)
    if lines:
        raise ValueError(f"{config.output} cannot go on with other settings ({'; '.join(lines)})")
    return last


def new_or_saved_model(
    stage: Stage, config: TrainConfig, provenance: Provenance, checkpoint: Checkpoint | None
) -> Any:
    """Returns the model that a run starts with, in float32 on the CPU.

    Args:
        stage: What is trained.
        config: What the run is to do.
        provenance: What it is trained on.
        checkpoint: Where it goes on, if it does.

    Raises:
        ValueError: The preset is unknown, or `start_from` names no model that fits.
    """
    if checkpoint is not None:
        return load_pretrained(stage.model_class, str(checkpoint.model))
    fields: dict[str, Any] = {"dropout_rate": config.dropout, "data": provenance.to_json()}
    if config.relative_positions is not None:
        fields["relative_positions"] = config.relative_positions
    torch.manual_seed(config.seed)
    model = stage.model_class(stage.new_config(config.preset, **fields))
    if config.start_from is None:
        return model
    folder = find_model(config.start_from)
    older = load_pretrained(stage.model_class, str(folder))
    if lines := code_differences(Provenance.from_json(older.config.data), provenance):
        raise ValueError(f"{folder} was trained on other codes ({'; '.join(lines)})")
    if lines := recipe_differences(_shape(older.config), _shape(model.config)):
        raise ValueError(f"{folder} has another shape ({'; '.join(lines)})")
    model.load_state_dict(older.state_dict())
    return model


def _shape(config: Any) -> dict[str, Any]:
    names = (*ACCOMPANIMENT["base"], "relative_positions")
    return {name: getattr(config, name) for name in names}
