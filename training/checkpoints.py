"""Checkpoints that exist whole or not at all, whatever happens while one is written.

A run's `checkpoints/` holds a folder for each step that was saved:

    step-00005000/
      model/                   config.json, and weights as safetensors
      optimizer.safetensors    state of the optimiser, by parameter
      state.json               step, place in the data, metrics, config of the run

A run is a folder of a local disk. A checkpoint is written under a temporary name and renamed;
before removal it is renamed, too.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from singsong.models.weights import load_safely
from singsong.storage import TEMPORARY_PREFIX

CHECKPOINTS_FOLDER = "checkpoints"
MODEL_FOLDER = "model"
_OPTIMIZER_NAME = "optimizer.safetensors"
_STATE_NAME = "state.json"
_STEP_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint on disk.

    Attributes:
        folder: Where it is.
        step: Number of updates that the model has had.
        loader: State of the loader: the place in the data.
        metrics: The metrics measured at that step; empty if none were.
        config: The config of the run, as JSON values.
    """

    folder: Path
    step: int
    loader: Mapping[str, str | int | bool]
    metrics: Mapping[str, float]
    config: Mapping[str, object]

    @property
    def model(self) -> Path:
        """Folder that opens with `from_pretrained` of `AccompanimentModel` or `FineModel`."""
        return self.folder / MODEL_FOLDER


def list_checkpoints(run: str | Path) -> list[Checkpoint]:
    """Returns the checkpoints of a run, oldest first; none if there is no such run.

    Raises:
        ValueError: One of them is broken.
    """
    folder = Path(run) / CHECKPOINTS_FOLDER
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if _STEP_NAME.fullmatch(path.name))
    return [_read(path) for path in found]


def best_checkpoint(checkpoints: list[Checkpoint], metric: str) -> Checkpoint | None:
    """Returns the checkpoint with the lowest value of a metric, the earlier of equals, if any.

    Values that are not finite do not count.
    """
    measured = [
        checkpoint
        for checkpoint in checkpoints
        if math.isfinite(checkpoint.metrics.get(metric, math.nan))
    ]
    return min(measured, key=lambda checkpoint: checkpoint.metrics[metric], default=None)


def save_checkpoint(
    run: str | Path,
    *,
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    step: int,
    loader: Mapping[str, str | int | bool],
    metrics: Mapping[str, float],
    config: Mapping[str, object],
) -> Checkpoint:
    """Writes a checkpoint; it replaces one of the same step.

    Args:
        run: Folder of the run.
        model: An `AccompanimentModel` or a `FineModel`.
        optimizer: Its optimiser.
        step: Number of updates that the model has had.
        loader: State of the loader.
        metrics: The metrics measured at that step.
        config: The config of the run, as JSON values.

    Raises:
        OSError: The disk is full or cannot be written. Earlier checkpoints remain.
    """
    folder = Path(run) / CHECKPOINTS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    temporary, final = _temporary(folder), folder / f"step-{step:08d}"
    model.save_pretrained(temporary / MODEL_FOLDER)
    save_file(_optimizer_tensors(model, optimizer), temporary / _OPTIMIZER_NAME)
    state = {"step": step, "loader": loader, "metrics": metrics, "config": config}
    (temporary / _STATE_NAME).write_text(json.dumps(state, indent=1) + "\n")
    _flush(temporary)
    if final.exists():
        _remove(final)
    temporary.rename(final)
    _flush_folder(folder)
    return _read(final)


def restore_optimizer(
    checkpoint: Checkpoint, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Restores the saved state of a model's optimiser.

    Raises:
        ValueError: The checkpoint belongs to other parameters, or is broken.
    """
    tensors = load_safely(checkpoint.folder / _OPTIMIZER_NAME)
    names = dict(_named(model))
    if unknown := {name.rpartition("/")[0] for name in tensors} ^ set(names):
        raise ValueError(f"{checkpoint.folder} belongs to another model: {sorted(unknown)[0]}")
    for name, tensor in tensors.items():
        parameter, _, key = name.rpartition("/")
        state = optimizer.state[names[parameter]]
        state[key] = int(tensor) if key == "step" else tensor.to(names[parameter].device)
        state["RMS"] = 0


def clean_up(run: str | Path) -> None:
    """Removes what a killed process left behind while it wrote or removed a checkpoint."""
    for path in (Path(run) / CHECKPOINTS_FOLDER).glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(path)


def keep_only(run: str | Path, *, last: int, metric: str) -> None:
    """Removes all checkpoints except the last ones and the best one.

    Args:
        run: Folder of the run.
        last: How many of the last ones stay.
        metric: The metric whose lowest value is the best.
    """
    checkpoints = list_checkpoints(run)
    best = best_checkpoint(checkpoints, metric)
    for checkpoint in checkpoints[:-last]:
        if best is None or checkpoint.step != best.step:
            _remove(checkpoint.folder)


def find_model(place: str | Path) -> Path:
    """Returns the folder of a model: the place itself, or the best or else the last of a run.

    The best checkpoint is the one with the lowest `best_metric` of the run's config.

    Args:
        place: Folder of a run, of a checkpoint or of a model.

    Raises:
        ValueError: There is no model, or a checkpoint is broken.
    """
    for folder in (Path(place), Path(place) / MODEL_FOLDER):
        if (folder / "config.json").is_file():
            return folder
    checkpoints = list_checkpoints(place)
    if not checkpoints:
        raise ValueError(f"{place} is not a model, a checkpoint or a run with checkpoints")
    last = checkpoints[-1]
    return (best_checkpoint(checkpoints, str(last.config.get("best_metric", "nll"))) or last).model


def _read(folder: Path) -> Checkpoint:
    path = folder / _STATE_NAME
    try:
        return Checkpoint(folder=folder, **json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is broken ({error}): remove {folder}") from None


def _named(model: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, value) for name, value in model.named_parameters() if value.requires_grad]


def _optimizer_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": torch.as_tensor(value).detach().cpu().contiguous()
        for name, parameter in _named(model)
        for key, value in optimizer.state[parameter].items()
        if key != "RMS"  # of the parameter: computed again at each step
    }


def _temporary(folder: Path) -> Path:
    path = folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    path.mkdir()
    return path


def _remove(folder: Path) -> None:
    doomed = folder.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    folder.rename(doomed)
    shutil.rmtree(doomed)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        else:
            _flush_folder(path)
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
