"""Runs a pipeline on this machine, shows how far it is, and stops cleanly.

The engine is Beam's `FnApiRunner`, by that name: `DirectRunner` first tries to download another
engine, so that two machines would not run the same.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from models.allocator import keep_freed_memory
from runners.errors import JobFailedError, JobStoppedError
from runners.job import Job, Outcome, counters_of, first_cause
from runners.progress_bar import ProgressBar
from transforms.progress import STOP_NAME

MODES = ("in_memory", "multi_threading", "multi_processing")
STOPPED_EXIT_CODE = 130
_STDERR = 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOGGER = logging.getLogger(__name__)


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

    Beam prints the traceback of each failing worker; here the first cause is told instead, and the
    tracebacks are logged for `singsong --debug`.

    Raises:
        JobStoppedError: Ctrl-C.
        JobFailedError: A step failed for good.
    """
    folder = Path(tempfile.mkdtemp(prefix="singsong-progress-"))
    bar = ProgressBar(folder, total_tracks=job.total_tracks, total_bytes=job.total_bytes)
    complaints = folder / "stderr.txt"
    try:
        with _stopping_on_interrupt(folder), bar, _stderr_to(complaints):
            pipeline = beam.Pipeline(
                runner=FnApiRunner(), options=PipelineOptions(options.beam_options())
            )
            job.build(pipeline, str(folder))
            result = pipeline.run()
            result.wait_until_finish()
        return Outcome(counters=counters_of(result))
    except Exception as error:
        if (folder / STOP_NAME).exists():
            raise JobStoppedError("stopped") from None
        _LOGGER.debug(
            "the pipeline failed: %s", complaints.read_text(errors="replace"), exc_info=True
        )
        raise JobFailedError(first_cause(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Sends what this process, its C libraries and its children print as errors to a file."""
    sys.stderr.flush()
    terminal = os.dup(_STDERR)
    with path.open("w", encoding="utf-8") as file, redirect_stderr(file):
        os.dup2(file.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, _STDERR)
            os.close(terminal)


@contextmanager
def _stopping_on_interrupt(folder: Path) -> Iterator[None]:
    """Lets the first Ctrl-C stop the workers at their next clip, the second end at once.

    A terminal sends Ctrl-C to worker processes too, and Beam waits for ever for one that died of
    it. They inherit the mask of the thread that starts them, so that they do not hear it; here a
    thread that was started before the mask does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ears, mouth = os.pipe()
    os.set_blocking(mouth, False)
    listener = threading.Thread(target=_stop_when_told, args=(ears, folder), daemon=True)
    before = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    wakeup = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    listener.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(mouth)
        listener.join()
        os.close(ears)


def _stop_when_told(ears: int, folder: Path) -> None:
    while told := os.read(ears, 1):
        if told[0] not in _STOP_SIGNALS:
            continue
        if (folder / STOP_NAME).exists():
            os._exit(STOPPED_EXIT_CODE)
        (folder / STOP_NAME).touch()
