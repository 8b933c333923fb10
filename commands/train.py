"""Runs a training and reports how it ended. The flags are in `train_arguments`."""

from __future__ import annotations

from transformers.utils.logging import disable_progress_bar

from singsong.models.allocator import keep_freed_memory
from singsong.runners.errors import JobFailedError
from singsong.runners.exit_codes import ExitCode
from singsong.training.train import TrainingError, TrainResult, train
from singsong.training.train_config import TrainConfig


def run(config: TrainConfig, *, resume: bool) -> int:
    """Trains, says how it ended and returns the exit code.

    Raises:
        ValueError: A setting does not fit the dataset, the machine or the run that is to continue.
        DatasetError: There is no dataset, or it does not hold together.
        JobFailedError: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    disable_progress_bar()  # of writing weights
    keep_freed_memory()
    try:
        result = train(config, resume=resume)
    except TrainingError as error:
        raise JobFailedError(str(error)) from error
    if result.first_process:
        print(summary(result, config))
    return ExitCode.INTERRUPTED if result.reason == "stopped" else ExitCode.DONE


def summary(result: TrainResult, config: TrainConfig) -> str:
    """Returns what is to be said at the end."""
    lines = [f"{config.output} is at step {result.step}."]
    if result.best is not None:
        value = result.best.metrics[config.best_metric]
        lines.append(f"Best {config.best_metric}: {value:.4f}, in {result.best.folder}")
    if result.reason == "patience":
        lines.append(f"Ended early: {config.patience} evaluations brought nothing better.")
    if result.reason == "stopped":
        lines.append("Stopped. All is saved: the same command with --resume goes on.")
    return "\n".join(lines)
