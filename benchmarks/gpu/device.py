"""What differs between a CUDA device and a CPU: waiting for it, its memory and its name."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch


def seconds(work: Callable[[], object], device: str) -> float:
    """Returns the wall time of `work`, including its kernels on the device."""
    _wait(device)
    since = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - since


def seconds_a_run(work: Callable[[], object], device: str, *, measure_s: float) -> float:
    """Returns the wall time of one run, after a first one, over runs of `measure_s` together."""
    once = seconds(work, device)  # the first run chooses kernels and takes memory
    once = min(once, seconds(work, device))
    runs = int(measure_s / once)
    return seconds(lambda: [work() for _ in range(runs)], device) / runs if runs else once


def free_memory(device: str) -> None:
    """Gives the memory that torch keeps back to the device, and measures its peak anew."""
    if _is_cuda(device):
        torch.cuda.init()  # there is no memory to measure before
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: str) -> str:
    """Returns the most memory that was in use on the device since `free_memory`, as a cell."""
    if not _is_cuda(device):
        return ""
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f}"


def described(device: str) -> str:
    """Returns a sentence on the device, the machine and the software."""
    cpu = f"{_cpu_name()}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}"
    if not _is_cuda(device):
        return f"CPU only: {cpu}."
    found = torch.cuda.get_device_properties(device)
    memory = f"{found.total_memory / 2**30:.0f} GiB"
    cuda = f"CUDA {torch.version.cuda}, driver {_driver()}"
    return f"{found.name}, {memory}, {cuda}; {cpu}."


def _is_cuda(device: str) -> bool:
    return device.startswith("cuda")


def _wait(device: str) -> None:
    if _is_cuda(device):
        torch.cuda.synchronize(device)


def _driver() -> str:
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    return found.stdout.split("\n")[0].strip() or "unknown"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
