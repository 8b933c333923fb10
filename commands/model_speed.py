"""Measures how fast a model runs, as a worker of a job runs it: one thread, one process."""

from __future__ import annotations

import multiprocessing
import re
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from singsong.models.conformance import noise_clips
from singsong.models.devices import set_numerics
from singsong.models.registry import make_model
from singsong.schemas.recipe import ModelSpec

_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast a model does one thing.

    Attributes:
        does: "separate", "encode", "decode" or "features".
        wall_s: Seconds a clip takes: the median over runs after a first one that is not counted.
        core_s: Processor seconds a clip takes, of all threads; the median likewise.
        peak_mb: The most memory so far, in 10^6 bytes: of the whole process, or on the GPU where
            the model runs there. None where the system does not say.
    """

    does: str
    wall_s: float
    core_s: float
    peak_mb: float | None


def measure_apart(
    role: str, spec: ModelSpec, *, seconds: float, place: dict[str, Any]
) -> list[Speed]:
    """Returns what `measure` does, from a process of its own, so that its memory is the model's.

    Raises:
        ValueError: As for `make_model`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measure, role, spec, seconds=seconds, place=place).result()


def measure(role: str, spec: ModelSpec, *, seconds: float, place: dict[str, Any]) -> list[Speed]:
    """Loads a model and returns how fast it does each thing it can do.

    Models return arrays in the memory of the machine, so a GPU has finished when they return.

    Args:
        role: As for `make_model`.
        spec: The model.
        seconds: Length of a clip; as many clips run at once as `batch_clips` says.
        place: device, dtype and batch_clips.

    Raises:
        ValueError: As for `make_model`.
    """
    torch.set_num_threads(1)
    set_numerics()
    model = make_model(role, spec, **place)
    speeds = []
    for does, call, given in _calls(role, model, seconds=seconds, clips=place["batch_clips"]):
        call(given)
        runs = [_timed(call, given) for _ in range(_RUNS)]
        wall, core = (statistics.median(times) / len(given) for times in zip(*runs, strict=True))
        peak = _peak_mb(place["device"])
        speeds.append(Speed(does=does, wall_s=wall, core_s=core, peak_mb=peak))
    return speeds


def _calls(
    role: str, model: Any, *, seconds: float, clips: int
) -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    rate_hz = model.geometry.sample_rate_hz if hasattr(model, "geometry") else model.sample_rate_hz
    samples = round(seconds * rate_hz)
    audio = np.resize(noise_clips(samples), (clips, samples))
    if role == "separator":
        yield "separate", model.separate_vocals, audio
    elif role == "features":
        yield "features", model.features, audio
    else:
        yield "encode", model.encode, audio
    if role == "acoustic":
        yield "decode", model.decode, model.encode(audio)


def _timed(call: Callable[[Any], Any], given: Any) -> tuple[float, float]:
    wall, core = time.perf_counter(), time.process_time()
    call(given)
    return time.perf_counter() - wall, time.process_time() - core


def _peak_mb(device: str) -> float | None:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    # Not ru_maxrss, which a process inherits from the one that started it.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) * 1024 / 1e6 if found else None
