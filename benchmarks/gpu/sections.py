"""The sections of the report, each in its own process and with its own time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.plan import Plan
from benchmarks.gpu.report import Report


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the report.

    Attributes:
        title: Its title.
        work: What measures it, a function of the plan and the report: "module:name".
        weight: Its share of the time, beside the weights of the others.
    """

    title: str
    work: str
    weight: float


FIRST = "machine"
"""The section that makes what the others measure on."""

SECTIONS: Mapping[str, Section] = {
    FIRST: Section(title="The machine", work="benchmarks.gpu.material:prepare", weight=1),
    "agreement": Section(
        title="Agreement with the CPU", work="benchmarks.gpu.agreement:measure", weight=3
    ),
    "separation": Section(
        title="Separation", work="benchmarks.gpu.speed:measure_separation", weight=1.5
    ),
    "chain": Section(title="The whole chain", work="benchmarks.gpu.speed:measure_chain", weight=2),
    "training": Section(title="Training", work="benchmarks.gpu.training:measure", weight=2.5),
    "generation": Section(title="Generation", work="benchmarks.gpu.generation:measure", weight=2),
}


def run_section(section: Section, plan: Plan, path: Path, *, limit_s: float) -> bool:
    """Adds a section to the report; returns whether all of it was measured.

    Args:
        section: The section.
        plan: What is measured.
        path: The file of the report.
        limit_s: The process is killed after this long.
    """
    report = Report(path)
    report.line(f"\n### {section.title}\n")
    # CUDA does not survive a fork, and an error in a kernel ends all that its process can do.
    process = multiprocessing.get_context("spawn").Process(
        target=_measure, args=(section, plan, path)
    )
    since = time.monotonic()
    process.start()
    try:
        process.join(max(limit_s, 0))
        late = process.is_alive()
    finally:
        _kill(process)
    if late:
        report.error(f"Not done after {limit_s:.0f} s, its share of --minutes: the rest is missing")
    elif process.exitcode not in (0, 1):
        report.error(f"The process ended with exit code {process.exitcode}: the rest is missing")
    report.line(f"\nThis took {time.monotonic() - since:.0f} s.")
    return process.exitcode == 0 and not late


def _measure(section: Section, plan: Plan, path: Path) -> None:
    os.setsid()  # so that what it starts, such as compilers, can be killed with it
    report = Report(path)
    module, function = section.work.split(":")
    with report.keep_going("This section"):
        getattr(import_module(module), function)(plan, report)
    sys.exit(1 if report.failed else 0)


def _kill(process: multiprocessing.process.BaseProcess) -> None:
    if process.is_alive():
        try:
            os.killpg(process.pid or 0, signal.SIGKILL)
        except ProcessLookupError:  # it has not come to `setsid`
            process.kill()
    process.join()
