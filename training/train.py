"""Trains a model on a dataset: this file is the whole loop.

    result = train(TrainConfig(stage="accompaniment", data="dataset", output="run"))

What is random in a step is keyed by seed, step and process, so that a run that was stopped goes on
as if nothing had happened: bit for bit on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from singsong.dataset.manifest import DatasetError
from singsong.models.devices import checked_dtype
from singsong.schemas.seeds import generator
from singsong.training.checkpoints import (
    Checkpoint,
    best_checkpoint,
    clean_up,
    keep_only,
    list_checkpoints,
    restore_optimizer,
    save_checkpoint,
)
from singsong.training.event_file import ScalarWriter
from singsong.training.interruption import stop_requests
from singsong.training.likelihood import autocast, measure_likelihood
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.losses import token_losses
from singsong.training.optimizer import learning_rate, t5x_adafactor
from singsong.training.processes import Processes, joined_processes
from singsong.training.provenance import Provenance
from singsong.training.stages import Tensors, stage_of
from singsong.training.starting_point import new_or_saved_model, resume_point
from singsong.training.t5_layers import compile_layers, evaluation_mode
from singsong.training.throughput import Throughput, peak_flops, training_flops
from singsong.training.train_config import TrainConfig

Metric = Callable[[Any], float]
"""Measures a model, such as its FAD; the lower, the better."""


class TrainingError(Exception):
    """The training went wrong in a way that going on would not mend."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        step: How many updates the model had.
        reason: "done", "patience" or "stopped", by a person.
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

    Args:
        config: What to do.
        resume: Whether a run in the output goes on; without one, a new run starts all the same.
        extra_metrics: Measured at each evaluation, besides `loss` and `nll`; `best_metric` may name
            one.

    Raises:
        ValueError: A setting does not fit the dataset, the machine or the run that is to go on.
        DatasetError: There is no dataset, or it does not hold together.
        TrainingError: The loss is not finite.
        OSError: A checkpoint cannot be written.
    """
    with joined_processes(config.device) as processes, stop_requests() as asked_to_stop:
        trainer = Trainer(config, processes, resume=resume, extra_metrics=extra_metrics or {})
        reason = trainer.run(asked_to_stop)
    best = None
    if processes.first:
        best = best_checkpoint(list_checkpoints(config.output), config.best_metric)
    return TrainResult(step=trainer.step, reason=reason, best=best, first_process=processes.first)


class Trainer:
    """A run: model, optimiser, data, and how far they are.

    Args:
        config: What to do.
        processes: The processes that do it.
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
        self.config, self.processes, self.extra_metrics = config, processes, extra_metrics
        self._check()
        device = processes.device
        natural = "bfloat16" if device.type == "cuda" else "float32"
        self.dtype = checked_dtype(config.dtype or natural)
        reading = self._reading(config.batch_size // processes.count, seed=config.seed)
        self.data = ShardDataset(config.data, config.view, reading)
        self.validation = self._validation() if config.evaluate_every else None
        self.stage = stage_of(self.data.featurizer)
        provenance = Provenance.of(self.data.manifest, config.view_json)
        checkpoint = resume_point(config, provenance, resume=resume)
        self.step = checkpoint.step if checkpoint else 0
        self._unmeasured = checkpoint is not None and not checkpoint.metrics
        self.model = new_or_saved_model(self.stage, config, provenance, checkpoint).to(device)
        self.optimizer = t5x_adafactor(self.model.parameters())
        if checkpoint:
            self.data.load_state_dict(checkpoint.loader)
            restore_optimizer(checkpoint, model=self.model, optimizer=self.optimizer)
        self.replica: Any = self.model.train()
        if config.gradient_checkpointing:
            self.model.activation_checkpointing_enable()
        if config.compiled:
            compile_layers(self.model)
        if processes.count > 1:
            self.replica = DistributedDataParallel(self.model)
        self.throughput = Throughput(
            flops=training_flops(self.stage, self.model.config),
            peak=peak_flops(device, self.dtype, processes.count),
        )
        self.writer = None
        if processes.first:
            clean_up(config.output)
            self.writer = ScalarWriter(f"{config.output}/tensorboard", first_step=self.step + 1)

    def run(self, asked_to_stop: Callable[[], bool]) -> str:
        """Trains to the end and returns why it ended.

        Args:
            asked_to_stop: Whether to save and end after this step.

        Raises:
            TrainingError: The loss is not finite.
            OSError: A checkpoint cannot be written.
        """
        config = self.config
        bar = tqdm(
            total=config.steps, initial=self.step, unit="step", disable=not self.processes.first
        )
        batches: Any = iter(self.data)
        with bar, closing(batches), closing(self.writer) if self.writer else nullcontext():
            self.throughput.start()
            if self._unmeasured and self._due(config.evaluate_every, False):
                self._save(self.evaluate())  # which a person did not wait for
                if self._out_of_patience():
                    return "patience"
            while self.step < config.steps:
                values = self.update(next(batches))
                bar.update()
                bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
                self.throughput.add(config.batch_size)
                if self.step % config.log_every == 0:
                    self._log("train", {**values, **self.throughput.read()})
                last = self.step == config.steps
                stopping = self.processes.any(asked_to_stop()) and not last
                metrics = {}
                if self._due(config.evaluate_every, last) and not stopping:
                    metrics = self.evaluate()
                if metrics or stopping or last or self._due(config.save_every, False):
                    self._save(metrics)
                if stopping:
                    return "stopped"
                if metrics and self._out_of_patience():
                    return "patience"
        return "done"

    def update(self, batch: Tensors) -> dict[str, float]:
        """Makes one step on a batch of this process, and returns what it was like.

        Raises:
            TrainingError: The loss or the gradient is not finite; the model is as before.
        """
        config, processes = self.config, self.processes
        key = f"step {self.step} process {processes.rank}"
        random = generator(seed=config.seed, purpose="dropout", key=key)
        torch.manual_seed(int(random.integers(2**63)))
        self.optimizer.zero_grad()
        sources, targets = (part.split(config.micro_batch_size) for part in self.stage.split(batch))
        tokens = config.batch_size * targets[0].shape[1]
        sums = torch.zeros(2, device=processes.device)
        for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
            more = processes.count > 1 and index + 1 < len(targets)
            with self.replica.no_sync() if more else nullcontext():
                target = target.to(processes.device)  # noqa: PLW2901
                with autocast(processes.device, self.dtype):
                    logits = self.stage.target_logits(
                        self.replica, source.to(processes.device), target
                    )
                losses = token_losses(logits, target, z_loss=config.z_loss)
                # Replicas average their gradients, and the loss is a mean over all of them.
                (losses[0].sum() * (processes.count / tokens)).backward()
            sums += torch.stack([part.detach().sum() for part in losses])
        loss, nll = (value / tokens for value in processes.summed(sums.tolist()))
        gradients = [parameter.grad for parameter in self.model.parameters()]
        gradient_norm = float(torch.nn.utils.get_total_norm(gradients))
        if not math.isfinite(loss) or not math.isfinite(gradient_norm):
            raise TrainingError(
                f"the loss is {loss} and the norm of the gradient {gradient_norm} at step "
                f"{self.step}: the run ends here, and its checkpoints are those before it"
            )
        rate = learning_rate(self.step, warmup_steps=config.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        return {"loss": loss, "nll": nll, "gradient_norm": gradient_norm, "learning_rate": rate}

    def evaluate(self) -> dict[str, float]:
        """Returns the metrics of the model as it is."""
        if self.validation is None:
            return {}
        metrics = measure_likelihood(
            self.model,
            self.validation,
            stage=self.stage,
            processes=self.processes,
            dtype=self.dtype,
            z_loss=self.config.z_loss,
        )
        if self.processes.first:
            with evaluation_mode(self.model), torch.no_grad():
                metrics.update(
                    {name: measure(self.model) for name, measure in self.extra_metrics.items()}
                )
        self._log("validation", metrics)
        self.throughput.start()
        return metrics

    def _save(self, metrics: Mapping[str, float]) -> None:
        if self.processes.first:
            save_checkpoint(
                self.config.output,
                model=self.model,
                optimizer=self.optimizer,
                step=self.step,
                loader=self.data.state_dict(),
                metrics=metrics,
                config=self.config.to_json(),
            )
            keep_only(
                self.config.output, last=self.config.keep_last, metric=self.config.best_metric
            )
        self.processes.wait()  # a process that ends has torchrun end the others
        self.throughput.start()

    def _due(self, every: int, last: bool) -> bool:
        return bool(every) and (last or self.step % every == 0)

    def _out_of_patience(self) -> bool:
        """Returns the same in all processes; only the first one's disk counts."""
        config, out = self.config, False
        if config.patience is not None and self.processes.first:
            best = best_checkpoint(list_checkpoints(config.output), config.best_metric)
            waited = self.step - best.step if best else 0
            out = waited >= config.patience * config.evaluate_every
        return self.processes.any(out)

    def _log(self, kind: str, values: Mapping[str, float]) -> None:
        if self.writer is not None:
            self.writer.write(
                self.step, {f"{kind}/{name}": value for name, value in values.items()}
            )

    def _check(self) -> None:
        config, count = self.config, self.processes.count
        if config.batch_size % count:
            raise ValueError(
                f"batch_size must be a multiple of the {count} processes, found {config.batch_size}"
            )
        names = sorted({"loss", "nll", *self.extra_metrics})
        if config.best_metric not in names:
            raise ValueError(f"best_metric must be one of {names}, found {config.best_metric!r}")

    def _validation(self) -> ShardDataset:
        reading = self._reading(
            self.config.micro_batch_size, split="validation", shuffle=False, epochs=1
        )
        try:
            return ShardDataset(self.config.data, self.config.view, reading)
        except DatasetError as error:
            raise DatasetError(f"{error}: evaluate_every 0 trains without evaluations") from None

    def _reading(self, batch_size: int, **how: Any) -> LoaderConfig:
        return LoaderConfig(
            batch_size=batch_size,
            rank=self.processes.rank,
            ranks=self.processes.count,
            cache=self.config.cache,
            **how,
        )
