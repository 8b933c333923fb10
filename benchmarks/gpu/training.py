"""Measures training: clips per second, tokens per second and the share of the peak."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.device import free_memory, peak_gib, seconds
from benchmarks.gpu.material import training_data
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.report import Report
from singsong.models.devices import set_numerics
from singsong.training.processes import joined_processes
from singsong.training.throughput import peak_flops, training_flops
from singsong.training.train import Trainer
from singsong.training.train_config import TrainConfig


def measure(plan: Plan, report: Report) -> None:
    """Reports the speed of the trainer's own update, with the optimiser, eager and compiled.

    The batch grows until the memory is full. The last row also reads the dataset for every batch,
    which shows whether the device has to wait.
    """
    set_numerics()
    config = training_config(plan)
    with new_trainer(config) as trainer:
        report.line(f"{plan.preset}, S-SA, {str(trainer.dtype).removeprefix('torch.')}.")
        report.table(
            *("", "clips in a batch", "clips/s", "tokens/s", "share of peak FLOPS", "peak GiB")
        )
        bench = _TrainingBenchmark(trainer, plan, report)
        fitting = list(itertools.takewhile(bench.row, sorted(plan.batch_sizes)))
    if not fitting:
        report.error("No batch fits: use smaller --batch-sizes or a smaller --preset")
        return
    with report.keep_going("compiled training"):
        _measure_compiled(config, fitting[-1], plan, report)


def training_config(plan: Plan) -> TrainConfig:
    """Returns the settings with which `new_trainer` makes a trainer."""
    largest = max(plan.batch_sizes)
    return TrainConfig(
        kind="accompaniment",
        data=training_data(plan),
        output="",
        preset=plan.preset,
        batch_size=largest,
        micro_batch_size=largest,
        evaluate_every=0,
        device=plan.device,
    )


@contextmanager
def new_trainer(config: TrainConfig) -> Iterator[Trainer]:
    """Yields a trainer, and frees its memory at the end."""
    with (
        tempfile.TemporaryDirectory() as output,
        joined_processes(config.device) as processes,
    ):
        config = replace(config, output=output)
        yield Trainer(config, processes, resume=False, extra_metrics={})
    torch._dynamo.reset()


def _measure_compiled(config: TrainConfig, size: int, plan: Plan, report: Report) -> None:
    config = replace(config, batch_size=size, micro_batch_size=size, compiled=True)
    with new_trainer(config) as trainer:
        bench = _TrainingBenchmark(trainer, plan, report, name="compiled")
        compiling_s = seconds(lambda: bench.updates_per_s(size), plan.device)
        bench.row(size)
        bench.row_of_reading(size)
        optimizer = bench.optimizer_share(size)
        report.line(
            f"\nCompiling took {compiling_s:.0f} s. "
            f"The optimiser takes {optimizer:.1%} of an update."
        )
        if trainer.processes.device.type == "cuda":
            with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                trainer.update(bench.first(size))
            report.line("All attention ran as flash attention, with all other kernels disabled.")


class _TrainingBenchmark:
    """Times updates of one trainer with different batch sizes."""

    def __init__(
        self, trainer: Trainer, plan: Plan, report: Report, *, name: str = "eager"
    ) -> None:
        self._trainer, self._plan, self._report, self._name = trainer, plan, report, name
        self._batches: Any = iter(trainer.data)
        self._batch = next(self._batches)
        source, target = trainer.data.featurizer.lengths.values()
        self._tokens = source + target
        self._flops = training_flops(
            trainer.architecture, trainer.model.config, source=source, target=target
        )
        self._peak = peak_flops(trainer.processes.device, trainer.dtype, 1)

    def first(self, size: int) -> dict[str, torch.Tensor]:
        """Returns the first clips of a batch."""
        return {name: values[:size] for name, values in self._batch.items()}

    def row(self, size: int) -> bool:
        """Adds a row to the table; returns whether the batch size fits."""
        rate = self.updates_per_s(size)
        if rate is None:
            self._report.row(self._name, str(size), "does not fit", "", "", "")
            return False
        self._add(self._name, size, rate)
        return True

    def row_of_reading(self, size: int) -> None:
        """Adds a row for updates that each read a new batch, of all its clips."""
        updates, trainer = self._plan.sizes.updates, self._trainer
        wall_s = seconds(
            lambda: [trainer.update(next(self._batches)) for _ in range(updates)],
            self._plan.device,
        )
        self._add(f"{self._name}, reading the dataset", size, updates / wall_s)

    def updates_per_s(self, size: int) -> float | None:
        """Returns updates per second with this batch size, or None if it does not fit."""
        trainer, updates, batch = self._trainer, self._plan.sizes.updates, self.first(size)
        trainer.config = replace(trainer.config, batch_size=size, micro_batch_size=size)
        free_memory(self._plan.device)
        try:
            for _ in range(2):
                trainer.update(batch)
            run = lambda: [trainer.update(batch) for _ in range(updates)]  # noqa: E731
            return updates / seconds(run, self._plan.device)
        except torch.OutOfMemoryError:
            trainer.optimizer.zero_grad()
            return None

    def optimizer_share(self, size: int) -> float:
        """Returns the share of an update that the optimiser step takes."""
        trainer, device = self._trainer, self._plan.device
        whole = seconds(lambda: trainer.update(self.first(size)), device)
        return seconds(trainer.optimizer.step, device) / whole

    def _add(self, name: str, size: int, updates_per_s: float) -> None:
        clips = updates_per_s * size
        share = f"{clips * self._flops / self._peak:.1%}" if self._peak else "unknown"
        self._report.row(
            *(name, str(size), f"{clips:.1f}", f"{clips * self._tokens:,.0f}", share),
            peak_gib(self._plan.device),
        )
