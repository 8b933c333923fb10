"""Trains a model on a dataset: this file is the whole loop.

    result = train(TrainConfig(kind="accompaniment", data="dataset", output="run"))

Everything random in a step is keyed by seed, step and process, so that a run that was interrupted
and resumed ends like one that was not: bit for bit on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from singsong.models.devices import set_numerics
from singsong.schemas.seeds import generator
from singsong.training.checkpoints import Checkpoint
from singsong.training.interruption import stop_requests
from singsong.training.likelihood import Metric, autocast, measure_all, measure_likelihood
from singsong.training.losses import token_losses
from singsong.training.optimizer import learning_rate
from singsong.training.processes import Processes, joined_processes
from singsong.training.run_folder import RunFolder
from singsong.training.run_setup import check_config, set_up_run
from singsong.training.train_config import TrainConfig


class TrainingError(Exception):
    """The training went wrong in a way that more steps would not mend."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: Number of updates that the model has had.
        reason: "done", "patience", or "stopped" on request.
        best: The best checkpoint; None where nothing was measured, and in all processes but the
            first.
        first_process: Whether this process is the one that prints.
    """

    step: int
    reason: str
    best: Checkpoint | None
    first_process: bool


def train(
    config: TrainConfig, *, resume: bool = False, extra_metrics: Mapping[str, Metric] | None = None
) -> TrainResult:
    """Trains a model, from the start or from the last checkpoint of the run.

        result = train(TrainConfig(kind="accompaniment", data="dataset", output="run"))
        print(result.step, result.best)

    Ctrl-C or SIGTERM saves a checkpoint and returns after the current step.

    Args:
        config: The settings of the run.
        resume: Whether to continue the run in the output, if there is one.
        extra_metrics: Measured at each evaluation, besides `loss` and `nll`; `best_metric` may name
            one.

    Returns:
        How the run ended, and its best checkpoint.

    Raises:
        ValueError: A setting does not fit the dataset, the machine or the run to resume.
        DatasetError: There is no dataset, or it is not consistent.
        TrainingError: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    set_numerics()
    with joined_processes(config.device) as processes, stop_requests() as asked_to_stop:
        trainer = Trainer(config, processes, resume=resume, extra_metrics=extra_metrics or {})
        reason = trainer.run(asked_to_stop)
    return TrainResult(
        step=trainer.step,
        reason=reason,
        best=trainer.folder.best() if processes.first else None,
        first_process=processes.first,
    )


class Trainer:
    """A run: model, optimiser, data, and how far they are.

    Args:
        config: The settings of the run.
        processes: The processes that train.
        resume: As in `train`.
        extra_metrics: As in `train`.

    Raises:
        ValueError: As `train`.
        DatasetError: As `train`.
    """

    def __init__(
        self,
        config: TrainConfig,
        processes: Processes,
        *,
        resume: bool,
        extra_metrics: Mapping[str, Metric],
    ) -> None:
        check_config(config, processes, {"loss", "nll", *extra_metrics})
        setup = set_up_run(config, processes, resume=resume)
        self.config, self.processes, self.extra_metrics = config, processes, extra_metrics
        self.architecture, self.dtype = setup.architecture, setup.dtype
        self.data, self.validation = setup.data, setup.validation
        self.model, self.optimizer = setup.model, setup.optimizer
        self.replica: Any = setup.replica
        self.throughput = setup.throughput
        self.step, self._unmeasured = setup.step, setup.unmeasured
        self.folder = RunFolder(config, processes, first_step=self.step + 1)

    def run(self, asked_to_stop: Callable[[], bool]) -> str:
        """Trains to the end and returns why it ended.

        Args:
            asked_to_stop: Whether to save and end after this step.

        Raises:
            TrainingError: The loss is not finite.
            OSError: A checkpoint cannot be written.
        """
        config, first = self.config, self.processes.first
        bar = tqdm(total=config.steps, initial=self.step, unit="step", disable=not first)
        batches = iter(self.data)
        with bar, closing(batches), closing(self.folder):
            self.throughput.start()
            if self._unmeasured and self._due(config.evaluate_every):
                self._save(self.evaluate())  # a stop skips the evaluation that was due
                if self.folder.out_of_patience(self.step):
                    return "patience"
            while self.step < config.steps:
                values = self.update(next(batches))
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                self.throughput.add(config.batch_size)
                if self.step % config.log_every == 0:
                    self.folder.log(self.step, "train", {**values, **self.throughput.read()})
                last = self.step == config.steps
                stopping = self.processes.any(asked_to_stop()) and not last
                metrics = {}
                if self._due(config.evaluate_every, last=last) and not stopping:
                    metrics = self.evaluate()
                if metrics or stopping or last or self._due(config.save_every):
                    self._save(metrics)
                if stopping:
                    return "stopped"
                if metrics and self.folder.out_of_patience(self.step):
                    return "patience"
        return "done"

    def update(self, batch: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Makes one step on a batch of this process, and returns its loss, gradient norm and rate.

        Raises:
            TrainingError: The loss or the gradient is not finite; the model is as before.
        """
        config, processes = self.config, self.processes
        key = f"step {self.step} process {processes.rank}"
        random = generator(seed=config.seed, purpose="dropout", key=key)
        torch.manual_seed(int(random.integers(2**63)))
        self.optimizer.zero_grad()
        tokens = config.batch_size * batch["target_tokens"].shape[1]
        sums = torch.zeros(2, device=processes.device)
        for losses in self._backward(batch, tokens=tokens):
            sums += torch.stack([part.detach().sum() for part in losses])
        loss, nll = (value / tokens for value in processes.summed(sums.tolist()))
        gradients = [parameter.grad for parameter in self.model.parameters()]
        gradient_norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(loss) or not math.isfinite(gradient_norm):
            raise TrainingError(
                f"the loss is {loss} and the norm of the gradient {gradient_norm} at step "
                f"{self.step}: the run ends here, with the checkpoints from before this step"
            )
        rate = learning_rate(self.step, warmup_steps=config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        return {"loss": loss, "nll": nll, "gradient_norm": gradient_norm, "learning_rate": rate}

    def _backward(
        self, batch: Mapping[str, torch.Tensor], *, tokens: int
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Adds up the gradients of a batch, and yields the losses of each micro-batch."""
        config, processes = self.config, self.processes
        sources, targets = (
            batch[name].split(config.micro_batch_size) for name in ("input_tokens", "target_tokens")
        )
        for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
            more = processes.count > 1 and index + 1 < len(targets)
            with self.replica.no_sync() if more else nullcontext():
                target = target.to(processes.device)  # noqa: PLW2901
                with autocast(processes.device, self.dtype):
                    logits = self.architecture.target_logits(
                        self.replica, source.to(processes.device), target
                    )
                losses = token_losses(logits, target, z_loss=config.z_loss)
                # Replicas average their gradients, and the loss is a mean over all of them.
                (losses[0].sum() * (processes.count / tokens)).backward()
            yield losses

    def evaluate(self) -> dict[str, float]:
        """Returns the metrics of the model at this step; none without validation data."""
        if self.validation is None:
            return {}
        metrics = measure_likelihood(
            self.model,
            self.validation,
            architecture=self.architecture,
            first_scored=self.validation.featurizer.first_scored,
            processes=self.processes,
            dtype=self.dtype,
            z_loss=self.config.z_loss,
        )
        if self.processes.first:
            metrics.update(measure_all(self.model, self.extra_metrics))
        self.folder.log(self.step, "validation", metrics)
        self.throughput.start()
        return metrics

    def _save(self, metrics: Mapping[str, float]) -> None:
        self.folder.save(
            self.step,
            model=self.model,
            optimizer=self.optimizer,
            loader=self.data.state_dict(),
            metrics=metrics,
        )
        self.throughput.start()

    def _due(self, every: int, *, last: bool = False) -> bool:
        return bool(every) and (last or self.step % every == 0)
