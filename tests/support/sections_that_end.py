"""Sections of the GPU check, most of which fail; light, as each has a process that imports it."""

import os
import signal
import time

from benchmarks.gpu.plan import Plan
from benchmarks.gpu.report import Report


def succeed(plan: Plan, report: Report) -> None:
    report.line("All is well.")


def fail(plan: Plan, report: Report) -> None:
    raise ValueError("no such thing\nand what follows")


def write_and_die(plan: Plan, report: Report) -> None:
    """Ends as a kernel does that accesses memory which is not there."""
    report.row("measured", "1")
    os.kill(os.getpid(), signal.SIGKILL)


def never_end(plan: Plan, report: Report) -> None:
    time.sleep(3600)
