"""What a training run writes: TensorBoard's events and checkpoints. Only one process writes."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from singsong.training.architectures import Model
from singsong.training.checkpoints import (
    Checkpoint,
    best_checkpoint,
    clean_up,
    keep_only,
    list_checkpoints,
    save_checkpoint,
)
from singsong.training.event_file import ScalarWriter
from singsong.training.loader import LoaderState
from singsong.training.processes import Processes
from singsong.training.train_config import TrainConfig


class RunFolder:
    """The folder of a run. All processes call its methods; the first one writes.

    Args:
        config: The settings of the run.
        processes: The processes that train.
        first_step: TensorBoard discards what older event files hold for this step and later ones.

    Raises:
        OSError: The folder cannot be written.
    """

    def __init__(self, config: TrainConfig, processes: Processes, *, first_step: int) -> None:
        self._config, self._processes = config, processes
        self._writer = None
        if processes.first:
            clean_up(config.output)
            self._writer = ScalarWriter(f"{config.output}/tensorboard", first_step=first_step)

    def log(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Writes the values of a step for TensorBoard, as `kind/name`."""
        if self._writer is not None:
            named = {f"{kind}/{name}": value for name, value in values.items()}
            self._writer.write(step, named)

    def save(
        self,
        step: int,
        *,
        model: Model,
        optimizer: torch.optim.Optimizer,
        loader: LoaderState,
        metrics: Mapping[str, float],
    ) -> None:
        """Writes a checkpoint, and removes those that are no longer kept.

        Raises:
            OSError: The disk is full or cannot be written.
        """
        config = self._config
        if self._processes.first:
            save_checkpoint(
                config.output,
                model=model,
                optimizer=optimizer,
                step=step,
                loader=loader,
                metrics=metrics,
                config=config.to_json(),
            )
            keep_only(config.output, last=config.keep_last, metric=config.best_metric)
        self._processes.wait()  # when a process ends, torchrun ends the others

    def best(self) -> Checkpoint | None:
        """Returns the best checkpoint; None if nothing was measured."""
        return best_checkpoint(list_checkpoints(self._config.output), self._config.best_metric)

    def out_of_patience(self, step: int) -> bool:
        """Returns whether too many evaluations brought nothing better, the same in all processes.

        Only the disk of the first process counts.
        """
        config, out = self._config, False
        if config.patience is not None and self._processes.first:
            best = self.best()
            waited = step - best.step if best else 0
            out = waited >= config.patience * config.evaluate_every
        return self._processes.any(out)

    def close(self) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
