"""Compares `singsong prepare` with the script a user would write, and with the bare kernels.

    python benchmarks/prepare.py
    python benchmarks/prepare.py --tracks 40 --seconds 120

All three run on the same files with the same weights, in turn, each as a process of its own; what
is reported is a ratio of two of them. Memory is the peak of the process, on 20 and on 200 tracks.
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

from pipelines.demo_songs import main as demo_songs

HERE = Path(__file__).resolve().parent
KERNELS = ("decode", "separate", "resample", "acoustic codes", "semantic codes")


@dataclass(frozen=True)
class Run:
    """One finished process."""

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
        *(sys.executable, "-m", "pipelines.cli", "prepare", str(music)),
        *("--output", str(output), "--no-filter"),
    )


def make_music(folder: Path, *, tracks: int, seconds: float) -> Path:
    demo_songs(
        ["--output", str(folder), "--songs", str(tracks), "--seconds", str(seconds), "--seed", "0"]
    )
    return folder / "mixes"


def kernel_share(prepared: Run) -> float:
    """Returns the part of the wall time that the workers spent inside kernels."""
    inside = 0.0
    for name in KERNELS:
        found = re.search(rf"^  {name}\s+([\d.]+)", prepared.output, re.MULTILINE)
        assert found, prepared.output
        inside += float(found.group(1))
    return inside / (prepared.wall_s * len(os.sched_getaffinity(0)))


def compare(folder: Path, *, tracks: int, seconds: float, rounds: int) -> None:
    music = make_music(folder / "long", tracks=tracks, seconds=seconds)
    audio_s = tracks * (seconds // 10) * 10
    rows: dict[str, list[Run]] = {"singsong prepare": [], "the script": [], "bare kernels": []}
    for number in range(rounds):
        rows["singsong prepare"].append(prepare(music, folder / f"dataset{number}"))
        rows["the script"].append(
            run(sys.executable, "-m", "benchmarks.naive_script", str(music), str(folder / "npy"))
        )
        rows["bare kernels"].append(
            run(sys.executable, "-m", "benchmarks.bare_kernels", str(music))
        )
    print(
        f"\n{tracks} tracks of {seconds:g} s, {len(os.sched_getaffinity(0))} cores, medians of {rounds}\n"
    )
    print("| | wall s | core s | x realtime | peak MB |\n|---|---|---|---|---|")
    median = {}
    for name, runs in rows.items():
        median[name] = sorted(runs, key=lambda one: one.wall_s)[len(runs) // 2]
        one = median[name]
        print(
            f"| {name} | {one.wall_s:.1f} | {one.cpu_s:.1f} | {audio_s / one.wall_s:.1f} "
            f"| {one.peak_mb:.0f} |"
        )
    ours, script, bare = (median[name] for name in rows)
    print(f"\nthe script / singsong prepare: {script.wall_s / ours.wall_s:.2f}x")
    print(f"bare kernels / singsong prepare: {100 * bare.wall_s / ours.wall_s:.0f} %")
    print(f"wall time of the workers inside kernels: {100 * kernel_share(ours):.0f} %")
    print(ours.output[ours.output.find("time of the workers") :])


def compare_memory(folder: Path, *, seconds: float) -> None:
    print("| tracks | wall s | peak MB |\n|---|---|---|")
    for tracks in (20, 200):
        music = make_music(folder / f"short{tracks}", tracks=tracks, seconds=seconds)
        one = prepare(music, folder / f"memory{tracks}")
        print(f"| {tracks} | {one.wall_s:.1f} | {one.peak_mb:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--tracks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--memory-seconds", type=float, default=31.0, help="of the tracks for memory"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="singsong-benchmark-") as folder:
        compare(Path(folder), tracks=args.tracks, seconds=args.seconds, rounds=args.rounds)
        compare_memory(Path(folder), seconds=args.memory_seconds)


if __name__ == "__main__":
    main()
