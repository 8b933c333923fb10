"""Plans of the GPU check that are small enough for a test, and its tables."""

from pathlib import Path

from benchmarks import gpu_check
from benchmarks.gpu.plan import Plan


def plan_of(folder: Path, *arguments: str) -> Plan:
    args = gpu_check.parser().parse_args(["--device", "cpu", "--tiny", *arguments])
    return gpu_check.plan_of(args, folder)


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
