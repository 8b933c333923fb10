"""What a training run works on: its data, its model and its optimiser, ready for the next step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from singsong.dataset.manifest import DatasetError
from singsong.models.devices import checked_dtype
from singsong.training.architectures import ARCHITECTURES, Architecture, Model
from singsong.training.checkpoints import restore_optimizer
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.optimizer import t5x_adafactor
from singsong.training.processes import Processes
from singsong.training.provenance import Provenance
from singsong.training.starting_point import new_or_saved_model, resume_point
from singsong.training.t5_layers import compile_layers
from singsong.training.throughput import Throughput, peak_flops, training_flops
from singsong.training.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class RunSetup:
    """What a run starts with.

    Attributes:
        step: Number of updates that the model has had.
        unmeasured: Whether it was saved at that step without an evaluation.
        dtype: Type of the computation.
        architecture: The kind of model.
        data: The batches to train on.
        validation: The batches to evaluate on; None without evaluations.
        model: The model, in float32 on the device of the process.
        replica: The model, wrapped where several processes share the work.
        optimizer: Its optimiser.
        throughput: Measures the speed.
    """

    step: int
    unmeasured: bool
    dtype: torch.dtype
    architecture: Architecture
    data: ShardDataset
    validation: ShardDataset | None
    model: Model
    replica: nn.Module
    optimizer: torch.optim.Optimizer
    throughput: Throughput


def set_up_run(config: TrainConfig, processes: Processes, *, resume: bool) -> RunSetup:
    """Returns what a run starts with: anew, or from its last checkpoint.

    Raises:
        ValueError: A setting does not fit the dataset, the machine or the run to resume.
        DatasetError: There is no dataset, or it is not consistent.
    """
    natural = "bfloat16" if processes.device.type == "cuda" else "float32"
    dtype = checked_dtype(config.dtype or natural)
    data = _training_data(config, processes)
    validation = _validation_data(config, processes) if config.evaluate_every else None
    provenance: Provenance[Any] = Provenance.of(data.manifest, config.view)
    checkpoint = resume_point(config, provenance, resume=resume)
    vocab_size = data.featurizer.vocabulary.size
    model = new_or_saved_model(config, provenance, checkpoint, vocab_size=vocab_size)
    model = model.to(processes.device)
    optimizer = t5x_adafactor(model.parameters())
    if checkpoint:
        data.load_state_dict(checkpoint.loader)
        restore_optimizer(checkpoint, model=model, optimizer=optimizer)
    return RunSetup(
        step=checkpoint.step if checkpoint else 0,
        unmeasured=checkpoint is not None and not checkpoint.metrics,
        dtype=dtype,
        architecture=ARCHITECTURES[config.view.kind],
        data=data,
        validation=validation,
        model=model,
        replica=_replica(model, config, processes),
        optimizer=optimizer,
        throughput=_throughput(model, config, processes, data=data, dtype=dtype),
    )


def check_config(config: TrainConfig, processes: Processes, metrics: Collection[str]) -> None:
    """Checks the settings that depend on the processes and on the metrics.

    Raises:
        ValueError: The processes cannot share a batch, or the best metric is not measured.
    """
    if config.batch_size % processes.count:
        raise ValueError(
            f"batch_size must be a multiple of the {processes.count} processes, "
            f"found {config.batch_size}"
        )
    if config.best_metric not in metrics:
        names = sorted(metrics)
        raise ValueError(f"best_metric must be one of {names}, found {config.best_metric!r}")


def _training_data(config: TrainConfig, processes: Processes) -> ShardDataset:
    reading = _reading(config, processes, batch_size=config.batch_size // processes.count)
    return ShardDataset(config.data, config.view, reading)


def _validation_data(config: TrainConfig, processes: Processes) -> ShardDataset:
    reading = _reading(
        config,
        processes,
        batch_size=config.micro_batch_size,
        split="validation",
        shuffle=False,
        epochs=1,
    )
    try:
        return ShardDataset(config.data, config.view, reading)
    except DatasetError as error:
        raise DatasetError(
            f"{error}, and training evaluates on it. A small library gets some with `singsong "
            "prepare ... --splits train=80,validation=10,test=10 --replace`, which encodes nothing "
            "again; "
            "--evaluate-every 0 trains without evaluations"
        ) from None


def _reading(config: TrainConfig, processes: Processes, **how: Any) -> LoaderConfig:
    return LoaderConfig(
        seed=config.seed, rank=processes.rank, ranks=processes.count, cache=config.cache, **how
    )


def _replica(model: Model, config: TrainConfig, processes: Processes) -> nn.Module:
    model.train()
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
    if config.compiled:
        compile_layers(model)
    return DistributedDataParallel(model) if processes.count > 1 else model


def _throughput(
    model: Model,
    config: TrainConfig,
    processes: Processes,
    *,
    data: ShardDataset,
    dtype: torch.dtype,
) -> Throughput:
    source, target = data.featurizer.lengths.values()
    flops = training_flops(
        ARCHITECTURES[config.view.kind], model.config, source=source, target=target
    )
    return Throughput(flops=flops, peak=peak_flops(processes.device, dtype, processes.count))
