"""Where a run starts: anew, with the weights of another run, or where it left off."""

from __future__ import annotations

from typing import Any

import torch

from models.weights import load_pretrained
from training.checkpoints import Checkpoint, find_model, list_checkpoints
from training.provenance import Provenance, code_differences, differences, read_provenance
from training.stages import Stage
from training.train_config import TrainConfig, config_differences


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
    if config.start_from is None:
        return stage.model_class(stage.new_config(config.preset, **fields))
    folder = find_model(config.start_from)
    model = load_pretrained(stage.model_class, str(folder))
    lines = code_differences(Provenance.from_json(model.config.data), provenance)
    if lines:
        raise ValueError(f"{folder} was trained on other codes ({'; '.join(lines)})")
    model.config.data = fields["data"]
    return model
