"""Measures the accompaniment model on a GPU: training, eager and compiled, and generation.

    python -m benchmarks.gpu --data DATASET

DATASET has 10 s clips, as written by `singsong prepare`. Batch sizes grow until the memory is full.
Training uses the trainer's own update, including the optimiser, in bfloat16; the last line also
reads the dataset for every batch, which shows whether the GPU has to wait. Generation samples a
whole window from the codes of the vocals, in float32. It is compared with `generate` of
`transformers` on the same model, with its cache, timed over the first tokens.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from singsong.generation.sampling import FREE, sample_tokens
from singsong.models.devices import set_numerics
from singsong.training.accompaniment_model import AccompanimentModel
from singsong.training.featurizer import Featurizer
from singsong.training.presets import ACCOMPANIMENT
from singsong.training.processes import joined_processes
from singsong.training.t5_layers import evaluation_mode
from singsong.training.throughput import peak_flops, training_flops
from singsong.training.train import Trainer
from singsong.training.train_config import TrainConfig
from singsong.training.vocabulary import SOS

UPDATES = 5
PEER_TOKENS = 128


def seconds(work: Callable[[], object]) -> float:
    """Returns the wall time of `work`, including its GPU kernels."""
    torch.cuda.synchronize()
    since = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - since


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
    torch.cuda.empty_cache()


class TrainingBenchmark:
    """Times updates of one trainer with different batch sizes."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.batches: Any = iter(trainer.data)
        self.batch = next(self.batches)
        source, target = trainer.data.featurizer.lengths.values()
        self.flops = training_flops(
            trainer.architecture, trainer.model.config, source=source, target=target
        )
        self.peak = peak_flops(trainer.processes.device, trainer.dtype, 1)
        self.tokens = source + target

    def updates_per_s(self, size: int) -> float | None:
        """Returns updates per second with this batch size, or None if it does not fit."""
        trainer = self.trainer
        batch = {name: values[:size] for name, values in self.batch.items()}
        trainer.config = replace(trainer.config, batch_size=size, micro_batch_size=size)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        try:
            for _ in range(2):
                trainer.update(batch)
            return UPDATES / seconds(lambda: [trainer.update(batch) for _ in range(UPDATES)])
        except torch.OutOfMemoryError:
            trainer.optimizer.zero_grad()
            return None

    def line(self, name: str, size: int) -> bool:
        """Prints a line of the table; returns whether the batch size fits."""
        rate = self.updates_per_s(size)
        if rate is None:
            print(f"| {name} | {size} | does not fit | | | |", flush=True)
            return False
        self.print_line(name, size, rate)
        return True

    def print_line(self, name: str, size: int, updates_per_s: float) -> None:
        clips = updates_per_s * size
        mfu = f"{clips * self.flops / self.peak:.1%}" if self.peak else "unknown"
        memory = torch.cuda.max_memory_allocated() / 2**30
        cells = (f"{clips:.1f}", f"{clips * self.tokens:,.0f}", mfu, f"{memory:.1f}")
        print(f"| {name} | {size} | {' | '.join(cells)} |", flush=True)

    def optimizer_share(self, size: int) -> float:
        """Returns the share of an update that the optimiser step takes."""
        trainer = self.trainer
        whole = seconds(lambda: trainer.update({k: v[:size] for k, v in self.batch.items()}))
        return seconds(trainer.optimizer.step) / whole


def measure_eager(config: TrainConfig, sizes: list[int]) -> int:
    """Prints a line for each size and returns the largest that fits."""
    with new_trainer(config) as trainer:
        bench = TrainingBenchmark(trainer)
        fitting = list(itertools.takewhile(lambda size: bench.line("eager", size), sorted(sizes)))
    if not fitting:
        sys.exit("no batch fits: use smaller --batch-sizes or a smaller --preset")
    return fitting[-1]


def measure_compiled(config: TrainConfig, size: int) -> None:
    """Prints the lines of the table for the compiled model."""
    with new_trainer(replace(config, compiled=True)) as trainer:
        bench = TrainingBenchmark(trainer)
        compiling = seconds(lambda: bench.updates_per_s(size))
        bench.line("compiled", size)
        reading = seconds(lambda: [trainer.update(next(bench.batches)) for _ in range(UPDATES)])
        bench.print_line("compiled, reading the dataset", size, UPDATES / reading)
        optimizer = bench.optimizer_share(size)
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            trainer.update({name: values[:size] for name, values in bench.batch.items()})
    print(f"\nCompiling took {compiling:.0f} s. The optimiser takes {optimizer:.1%} of an update.")
    print("All attention ran as flash attention, with all other kernels disabled.", flush=True)


@torch.no_grad()
def draw_window(model: Any, featurizer: Featurizer, batch: int) -> torch.Tensor:
    given, drawn = featurizer.lengths.values()
    source = torch.randint(2, 1000, (batch, given), device="cuda")
    return sample_tokens(
        model,
        forced=torch.full((batch, drawn), FREE, device="cuda"),
        ranges=featurizer.target_tokens.ranges,
        uniforms=torch.from_numpy(np.random.default_rng(0).random((batch, drawn))),
        temperature=0.85,
        encoded=model.encoder(input_ids=source).last_hidden_state,
    )


def generate_as_transformers(model: AccompanimentModel, given: int, batch: int) -> torch.Tensor:
    source = torch.randint(2, 1000, (batch, given), device="cuda")
    tokens: torch.Tensor = model.generate(
        input_ids=source,
        decoder_start_token_id=SOS,
        do_sample=True,
        top_k=0,
        temperature=0.85,
        min_new_tokens=PEER_TOKENS,
        max_new_tokens=PEER_TOKENS,
    )
    return tokens


def measure_generation(config: TrainConfig, sizes: list[int]) -> None:
    """Prints the table of generation speeds."""
    print("\n| batch | tokens/s | transformers' generate | ratio |\n|---|---|---|---|")
    with new_trainer(config) as trainer, evaluation_mode(trainer.model):
        featurizer, model = trainer.data.featurizer, trainer.model
        given, drawn = featurizer.lengths.values()
        for batch in sizes:
            ours = (
                batch * drawn / seconds(lambda batch=batch: draw_window(model, featurizer, batch))
            )
            generate_as_transformers(model, given, 1)
            theirs = (
                batch
                * PEER_TOKENS
                / seconds(lambda batch=batch: generate_as_transformers(model, given, batch))
            )
            print(f"| {batch} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.1f}x |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--data", required=True, metavar="DATASET")
    parser.add_argument("--preset", choices=sorted(ACCOMPANIMENT), default="base")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 32, 48, 64, 96, 128])
    parser.add_argument("--generate", type=int, nargs="+", default=[1, 8, 64])
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this benchmark needs a CUDA device")
    set_numerics()
    largest = max(args.batch_sizes)
    config = TrainConfig(
        kind="accompaniment",
        data=args.data,
        output="",
        preset=args.preset,
        batch_size=largest,
        micro_batch_size=largest,
        evaluate_every=0,
        device="cuda",
    )
    name = torch.cuda.get_device_name()
    print(f"{name}, torch {torch.__version__}, {args.preset}, S-SA, bfloat16\n")
    print("| | clips | clips/s | tokens/s | of peak FLOPS | peak GiB |\n|---|---|---|---|---|---|")
    largest = measure_eager(config, args.batch_sizes)
    measure_compiled(replace(config, batch_size=largest, micro_batch_size=largest), largest)
    measure_generation(config, args.generate)


if __name__ == "__main__":
    main()
