"""How a job uses this machine. No Beam, so that the command line answers at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from singsong.models.allocator import keep_freed_memory
from singsong.runners.job import Job, Outcome, RunnerOptions, check_beam_args

MODES = ("in_memory", "multi_threading", "multi_processing")
_BEAM_FLAGS = {
    "runner": "--runner",
    "direct_num_workers": "--workers",
    "direct_running_mode": "--mode",
}


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """How to use this machine.

    Attributes:
        workers: How many tracks are processed at once; 0 takes one per core.
        mode: "in_memory" for debugging (one worker, real exceptions), "multi_threading" or
            "multi_processing".
        beam_args: Passed on to Beam; flags that the options above set are refused.

    Raises:
        ValueError: An option is outside its range.
    """

    workers: int = field(default=0, metadata={"help": "tracks at a time; 0 takes one per core"})
    mode: str = field(
        default="multi_threading", metadata={"choices": MODES, "help": "how Beam runs the workers"}
    )
    beam_args: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers must not be negative, found {self.workers}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, found {self.mode!r}")
        check_beam_args(self.beam_args, _BEAM_FLAGS)

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
        from singsong.runners.local_run import run_locally

        return run_locally(job, options=self)


def is_debugging(options: RunnerOptions) -> bool:
    """Returns whether what nobody foresaw is to stop the job, instead of costing one track."""
    return isinstance(options, LocalOptions) and options.mode == "in_memory"


def set_up_process() -> None:
    """Prepares a process that runs models, before the first one is loaded.

    Each worker computes on one thread: the workers keep the cores busy, and a sum that is split
    over another number of threads differs in its last bits, and then the codes differ.
    """
    import torch

    keep_freed_memory()
    torch.set_num_threads(1)
