"""Compares `singsong prepare` with the script that a user would write, and with bare kernels.

    python -m benchmarks.prepare
    python -m benchmarks.prepare --tracks 10 --rounds 1

All three run in turn on the same files with the same weights, each in a separate process. The
report gives ratios of their wall times, and the peak memory of the process on 20 and 200 tracks.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import soundfile

HERE = Path(__file__).resolve().parent
KERNELS = ("decode", "separate", "resample", "acoustic codes", "semantic codes")


@dataclass(frozen=True)
class Run:
    """Measurements and output of a finished process."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


def run(*command: str) -> Run:
    with tempfile.TemporaryFile("w+") as printed:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=printed, stderr=subprocess.STDOUT, cwd=HERE.parent
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - started
        printed.seek(0)
        output = printed.read()
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{output}")
    return Run(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)


def prepare(music: Path, output: Path) -> Run:
    return run(
        *(sys.executable, "-m", "singsong", "prepare", str(music)),
        *("--output", str(output), "--no-filter"),
    )


def make_music(folder: Path, *, tracks: int, seconds: float) -> Path:
    numbers = ("--songs", str(tracks), "--seconds", str(seconds), "--seed", "0")
    run(sys.executable, "-m", "singsong", "demo-songs", "--output", str(folder), *numbers)
    return folder / "mixes"


def kernel_share(prepared: Run) -> float:
    """Returns the share of the wall time that the workers spent in kernels."""
    inside = 0.0
    for name in KERNELS:
        found = re.search(rf"^  {name}\s+([\d.]+)", prepared.output, re.MULTILINE)
        if not found:
            sys.exit(f"no time of {name!r} in the output:\n{prepared.output}")
        inside += float(found.group(1))
    return inside / (prepared.wall_s * len(os.sched_getaffinity(0)))


def row(name: str, one: Run, audio_s: float) -> str:
    speed = audio_s / one.wall_s
    return f"| {name} | {one.wall_s:.1f} | {one.cpu_s:.1f} | {speed:.1f} | {one.peak_mb:.0f} |"


def compare(music: Path, folder: Path, *, audio_s: float, rounds: int) -> None:
    """Runs the three in turn, and prints the run with the median wall time of each."""
    commands = {
        "singsong prepare": lambda number: prepare(music, folder / f"dataset{number}"),
        "the script": lambda _: run(
            sys.executable, "-m", "benchmarks.naive_script", str(music), str(folder / "npy")
        ),
        "bare kernels": lambda _: run(sys.executable, "-m", "benchmarks.bare_kernels", str(music)),
    }
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            runs[name].append(command(number))
    median = {
        name: sorted(many, key=lambda one: one.wall_s)[len(many) // 2]
        for name, many in runs.items()
    }
    print("| | wall s | core s | x realtime | peak MB |\n|---|---|---|---|---|")
    for name, one in median.items():
        print(row(name, one, audio_s))
    ours = median["singsong prepare"].wall_s
    print(f"\nthe script / singsong prepare: {median['the script'].wall_s / ours:.2f}x")
    print(f"bare kernels / singsong prepare: {100 * median['bare kernels'].wall_s / ours:.0f} %")
    share = kernel_share(median["singsong prepare"])
    print(f"wall time of the workers in kernels: {100 * share:.0f} %\n")
    output = median["singsong prepare"].output
    start = output.find("worker time")
    print(output[start : output.find("\ndataset", start)], flush=True)


def memory(folder: Path, *, seconds: float) -> None:
    """Prints the peak memory for few and for many tracks."""
    print("\n| tracks | wall s | peak MB |\n|---|---|---|")
    for tracks in (20, 200):
        music = make_music(folder / f"short{tracks}", tracks=tracks, seconds=seconds)
        one = prepare(music, folder / f"memory{tracks}")
        print(f"| {tracks} | {one.wall_s:.1f} | {one.peak_mb:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--tracks", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=120.0, help="length of a track")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--music", type=Path, help="folder of music, used instead of demo songs")
    parser.add_argument(
        "--memory-seconds",
        type=float,
        default=31.0,
        help="length of a track; 0 skips the memory measurement",
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="singsong-benchmark-") as name:
        folder = Path(name)
        music = args.music or make_music(folder / "songs", tracks=args.tracks, seconds=args.seconds)
        lengths = [soundfile.info(path).duration for path in sorted(music.iterdir())]
        cores = len(os.sched_getaffinity(0))
        minutes = sum(lengths) / 60
        print(f"{len(lengths)} tracks, {minutes:.0f} min, {cores} cores, {args.rounds} rounds\n")
        compare(music, folder, audio_s=sum(s // 10 * 10 for s in lengths), rounds=args.rounds)
        if args.memory_seconds:
            memory(folder, seconds=args.memory_seconds)


if __name__ == "__main__":
    main()
