"""Measures how many times faster than the music separation is, and the whole chain from a file."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.device import free_memory, peak_gib, seconds_a_run
from benchmarks.gpu.material import compared_clips, song_files
from benchmarks.gpu.networks import chain_specs, chains, recipe_of, separators
from benchmarks.gpu.plan import CPU_ONLY, Plan
from benchmarks.gpu.report import Report
from singsong.audio.decode import stream_mono
from singsong.models.bundle import Models, load_models
from singsong.models.registry import load_model
from singsong.runners.local import set_up_process
from singsong.schemas.arrays import FloatArray
from singsong.schemas.outcomes import ClipStatus
from singsong.schemas.recipe import EncodeRecipe, ModelSpec
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_rows import TrackRows

_STEPS = ("decode", "separate", "resample", "acoustic", "semantic", "loudness")
_ROLES = {"separate": "separator", "acoustic": "acoustic", "semantic": "semantic"}


def measure_separation(plan: Plan, report: Report) -> None:
    """Reports the speed of each separator by batch size."""
    clip = next(iter(compared_clips(plan).values()))
    report.table("separator", "dtype", "clips in a batch", "x realtime", "peak GiB")
    for chain in separators(plan):
        for dtype in plan.sizes.dtypes:
            for batch in plan.sizes.separated_batches:
                with report.keep_going(f"separating {batch} clips ({chain}, {dtype})"):
                    spec = chain_specs(chain, plan)["separator"]
                    free_memory(plan.device)
                    try:
                        rate = _separation_rate(spec, np.tile(clip, (batch, 1)), dtype, plan)
                        cells = (f"{rate:.1f}", peak_gib(plan.device))
                    except torch.OutOfMemoryError:
                        cells = ("does not fit", "")
                    report.row(plan.label(spec), dtype, str(batch), *cells)


def _separation_rate(spec: ModelSpec, mixes: FloatArray, dtype: str, plan: Plan) -> float:
    separator = load_model(
        "separator", spec, device=plan.device, dtype=dtype, batch_clips=len(mixes)
    )
    once_s = seconds_a_run(
        lambda: separator.separate_vocals(mixes), plan.device, measure_s=plan.sizes.measure_s
    )
    return len(mixes) * plan.sizes.clip_seconds / once_s


def measure_chain(plan: Plan, report: Report) -> None:
    """Reports the speed from MP3 files to rows of codes, and where the time goes.

    As in a local run of `prepare`, all threads share the models, and torch has one thread in each.
    """
    set_up_process()
    batch = plan.sizes.chain_batch
    report.line(f"From MP3 files to the rows of a part, {batch} clips in a batch.")
    report.table(
        *("chain", "dtype", "threads", "x realtime", *_STEPS, "the rest"),
        *("in networks on the device", "peak GiB"),
    )
    needed = []
    for chain in chains(plan):
        for dtype in plan.sizes.dtypes:
            with report.keep_going(f"the chain {chain} in {dtype}"):
                share = _measure_threads(chain, dtype, plan, report)
                needed.append((f"{chain}, {dtype}", share))
    report.line("\nThe steps are shares of the threads' time, waiting included.")
    for what, share in needed:
        report.line(
            f"{what}: one thread is in networks {share:.1%} of the time, so at least "
            f"{1 / share:.1f} threads, on as many cores, keep the device busy."
        )


def _measure_threads(chain: str, dtype: str, plan: Plan, report: Report) -> float:
    """Adds a row for each number of threads; returns the share in networks with one thread."""
    batch = plan.sizes.chain_batch
    recipe = recipe_of(chain, plan, device=plan.device, dtype=dtype, batch_clips=batch)
    free_memory(plan.device)
    encoder = _Encoder(recipe, load_models(recipe))
    songs = song_files(plan)
    on_device = [step for step, role in _ROLES.items() if getattr(recipe, role).name != CPU_ONLY]
    one_song_s = seconds_a_run(lambda: encoder.clips_of(songs[0]), plan.device, measure_s=0)
    shares = []
    for threads in plan.sizes.threads:
        count = max(threads, int(plan.sizes.measure_s / one_song_s))
        files = [songs[index % len(songs)] for index in range(count)]
        run = encoder.run(files, threads)
        steps = [run.seconds[step] / run.seconds["total"] for step in _STEPS]
        shares.append(sum(run.seconds[step] for step in on_device) / run.seconds["total"])
        cells = [f"{share:.1%}" for share in (*steps, 1 - sum(steps), shares[-1])]
        speed = run.clips * plan.sizes.clip_seconds / run.wall_s
        report.row(chain, dtype, str(threads), f"{speed:.1f}", *cells, peak_gib(plan.device))
    return shares[0]


@dataclass(frozen=True)
class _Run:
    """What a run over files took: seconds by step are added up over its threads."""

    clips: int
    wall_s: float
    seconds: dict[str, float]


@dataclass(frozen=True)
class _Encoder:
    """Encodes files as a worker of `prepare` does, and throws the rows away."""

    recipe: EncodeRecipe
    models: Models

    def clips_of(self, path: Path, watch: Stopwatch | None = None) -> int:
        """Returns the number of clips of a file, all of which it has encoded."""
        watch = watch or Stopwatch()
        maker = TrackRows(track_id="", recipe=self.recipe, models=self.models, watch=watch)
        clips = 0
        with watch("total"):
            for row in maker.rows(stream_mono(str(path), rate_hz=self.recipe.mix_rate_hz)):
                if row.status is not ClipStatus.ENCODED:
                    raise RuntimeError(f"{path.name}, clip {row.clip_index}: {row.message}")
                clips += 1
        return clips

    def run(self, files: list[Path], threads: int) -> _Run:
        watches = [Stopwatch() for _ in files]
        since = time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            clips = sum(pool.map(self.clips_of, files, watches))  # codes are on the CPU by then
        wall_s = time.perf_counter() - since
        steps = (*_STEPS, "total")
        seconds = {step: sum(watch.seconds[step] for watch in watches) for step in steps}
        return _Run(clips, wall_s, seconds)
