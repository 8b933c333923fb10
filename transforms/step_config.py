"""What the configuration of each per-track step has. No libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """How a per-track step runs in each worker.

    Attributes:
        progress: Folder of this machine to report progress to; None reports none.
        start_process: Called once in each worker before the first model is loaded.
        debug: Whether what nobody foresaw stops the job, instead of costing one track.
        keep_going: Whether the job goes on if most of its first tracks give nothing.
    """

    progress: str | None = None
    start_process: Callable[[], None] | None = None
    debug: bool = False
    keep_going: bool = True
