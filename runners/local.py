"""Runs a pipeline on this machine, shows how far it is, and stops cleanly.

The engine is Beam's `FnApiRunner`, by that name: `DirectRunner` first tries to download another
engine, so that two machines would not run the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from singsong.models.allocator import keep_freed_memory
from singsong.runners.job import Job, Outcome, counters_of
from singsong.runners.progress_bar import progress_bar_of
from singsong.runners.terminal import attended

MODES = ("in_memory", "multi_threading", "multi_processing")


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How to use this machine.

    Attributes:
        workers: How many tracks are encoded at once; 0 takes one per core.
        mode: "in_memory" for debugging (one worker, real exceptions), "multi_threading" or
            "multi_processing".
        beam_args: Passed on to Beam.

    Raises:
        ValueError: An option is outside its range.
    """

    workers: int = field(default=0, metadata={"help": "0 takes one per core"})
    mode: str = field(default="multi_threading", metadata={"choices": MODES})
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers must not be negative, found {self.workers}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, found {self.mode!r}")

    @property
    def worker_count(self) -> int:
        """How many workers run."""
        if self.mode == "in_memory":
            return 1
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def remote(self) -> bool:
        """Returns False."""
        return False

    @property
    def encode_hints(self) -> Mapping[str, str]:
        """None: a hint would only split the stages."""
        return {}

    def beam_options(self) -> list[str]:
        """Returns these options as Beam's flags."""
        return [
            f"--direct_running_mode={self.mode}",
            f"--direct_num_workers={self.worker_count}",
            *self.beam_args,
        ]

    def run(self, job: Job) -> Outcome:
        """Runs a job on this machine, see `run_locally`."""
        return run_locally(job, options=self)


def set_up_process() -> None:
    """Prepares a process that runs models, before the first one is loaded.

    Each worker computes on one thread: workers are what uses the cores, and sums that are split
    over another number of threads come out with other last bits, and then with other codes.
    """
    import torch

    keep_freed_memory()
    torch.set_num_threads(1)


def run_locally(job: Job, *, options: LocalOptions) -> Outcome:
    """Builds and runs a job, shows how far it is, and returns how it ended.

    Raises:
        JobStoppedError: Ctrl-C.
        JobFailedError: A step failed for good.
    """
    with attended(progress_bar_of(job)) as folder:
        pipeline = beam.Pipeline(
            runner=FnApiRunner(), options=PipelineOptions(options.beam_options())
        )
        job.build(pipeline, str(folder))
        result = pipeline.run()
        result.wait_until_finish()
        return Outcome(counters=counters_of(result))
