"""What every runner takes and returns. No Beam, so that the command line answers at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import apache_beam as beam


_OUR_ERROR = re.compile(r"^singsong\.[\w.]+: ")
"""Whose message tells all."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a runner runs.

    Attributes:
        name: The command, which names the job where jobs have names.
        build: Adds the job to a pipeline. Takes the pipeline, and the folder of this machine that
            progress is reported to, or None where the workers do not share it.
        total_tracks: How many tracks there are to show progress for.
        total_bytes: How large they are together.
        reads: Files, folders, globs and URLs that the workers read.
        writes: Flag and URL of each place that the workers write to.
        weights: Hex digest of the weights of each model that the workers load, by role.
        device: Where the workers' networks run.
    """

    name: str
    build: Callable[[beam.Pipeline, str | None], object]
    total_tracks: int
    total_bytes: int
    reads: tuple[str, ...] = ()
    writes: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended.

    Attributes:
        finished: Whether its work is done; a job that was only submitted runs on.
        counters: Beam's counters by name.
    """

    finished: bool = True
    counters: Mapping[str, int] = field(default_factory=dict)


class RunnerOptions(Protocol):
    """What the options of each runner have.

    They are small frozen dataclasses that check themselves and import no Beam. Each field but
    `beam_args` is a flag of that name, whose metadata may hold "help" and "choices".
    """

    @property
    def remote(self) -> bool:
        """Whether the workers are other machines than this one."""

    @property
    def encode_hints(self) -> Mapping[str, str]:
        """Beam's resource hints for the transform that runs the models."""

    def beam_options(self) -> list[str]:
        """Returns these options as Beam's flags."""

    def run(self, job: Job) -> Outcome:
        """Runs a job, shows its progress and returns how it ended.

        Raises:
            JobStoppedError: Ctrl-C.
            JobFailedError: A step failed for good.
        """


def check_beam_args(beam_args: Sequence[str], ours: Mapping[str, str]) -> None:
    """Checks that no flag for Beam sets what a flag of ours sets.

    Beam would follow the last of the two, and our checks and messages the other one.

    Args:
        beam_args: What follows `--` on the command line.
        ours: Our flags by the names of Beam's.

    Raises:
        ValueError: One of them does.

    >>> check_beam_args(["--job_name=x"], {"job_name": "--job-name"})
    Traceback (most recent call last):
        ...
    ValueError: --job_name is set by --job-name: give that one, before the --
    """
    for argument in beam_args:
        name = argument.partition("=")[0].removeprefix("--")
        if name in ours:
            raise ValueError(f"--{name} is set by {ours[name]}: give that one, before the --")


def counters_of(result: beam.runners.runner.PipelineResult) -> dict[str, int]:
    """Returns the counters of a finished pipeline by name."""
    counters: dict[str, int] = {}
    for counter in result.metrics().query()["counters"]:
        name = counter.key.metric.name
        counters[name] = counters.get(name, 0) + (counter.committed or counter.attempted or 0)
    return counters


def first_cause(error: BaseException) -> str:
    """Returns the first line that says what went wrong; Beam wraps it in tracebacks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if _names_an_error(line)]
    text = errors[-1] if errors else _named(error, lines)
    text = text.partition(" [while running")[0].removeprefix("RuntimeError: ")
    return _OUR_ERROR.sub("", text)


def _named(error: BaseException, lines: Sequence[str]) -> str:
    """Returns the first line of an error that says its kind nowhere, behind its kind."""
    kind = type(error)
    if not lines:
        return kind.__name__
    ours = kind.__module__.startswith("singsong.")
    return lines[0] if ours or kind is RuntimeError else f"{kind.__name__}: {lines[0]}"


def _names_an_error(line: str) -> bool:
    head = line.partition(":")[0]
    return head.replace(".", "").replace("_", "").isalnum() and head.endswith(
        ("Error", "Exception")
    )
