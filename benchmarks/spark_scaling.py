"""Measures `singsong prepare` on Spark clusters of one and of two workers, one core each.

    python -m benchmarks.spark_scaling
    python -m benchmarks.spark_scaling --songs 20 --rounds 1

All processes of a run share as many cores as there are workers, including Spark's master and the
driver, so that the run with one worker gets no extra core for them. The wall time is that of the
whole command, including imports, Java, submission, worker start and assembling; only the cluster
itself is started before. Each round measures both in turn.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import soundfile

from benchmarks.support.command import digest, finish, start_prepare
from benchmarks.support.spark_cluster import SparkCluster
from singsong.commands import cli
from singsong.runners.spark import TASKS_PER_CORE

WORKERS = (1, 2)
_TIMEOUT_S = 3600.0


def prepare(music: Path, folder: Path, *, workers: int) -> float:
    """Returns the wall time of a run in seconds; it writes `folder / "dataset"`."""
    with (
        on_cores(workers),
        SparkCluster(folder / "cluster", workers=workers) as cluster,
    ):
        started = time.perf_counter()
        process = start_prepare(
            music,
            folder / "dataset",
            *("--no-filter", "--runner", "spark", "--spark-master", cluster.master),
            *("--parallelism", str(TASKS_PER_CORE * workers)),
            environment=cluster.environment,
        )
        finish(process, timeout_s=_TIMEOUT_S)
        return time.perf_counter() - started


@contextmanager
def on_cores(number: int) -> Iterator[None]:
    """Restricts this process and its children to some of its cores.

    Raises:
        ValueError: It has fewer cores.
    """
    cores = os.sched_getaffinity(0)
    if number > len(cores):
        raise ValueError(f"{number} workers need {number} cores, found {len(cores)}")
    os.sched_setaffinity(0, sorted(cores)[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def make_songs(folder: Path, *, songs: int, seconds: float) -> Path:
    flags = ("--songs", str(songs), "--seconds", str(seconds), "--seed", "0")
    with redirect_stdout(sys.stderr):
        cli.main(["demo-songs", "--output", str(folder / "songs"), *flags])
    return folder / "songs/mixes"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--songs", type=int, default=75)
    parser.add_argument("--seconds", type=float, default=120.0, help="length of a song")
    parser.add_argument("--music", type=Path, help="folder of music, used instead of demo songs")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    walls: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    digests = set()
    with tempfile.TemporaryDirectory(prefix="singsong-scaling-") as name:
        folder = Path(name)
        music = args.music or make_songs(folder, songs=args.songs, seconds=args.seconds)
        tracks = list(music.iterdir())
        audio_s = sum(soundfile.info(path).duration for path in tracks)
        for number in range(args.rounds):
            for workers in WORKERS:
                run = folder / f"round-{number}-workers-{workers}"
                walls[workers].append(prepare(music, run, workers=workers))
                digests.add(digest(run / "dataset"))
                print(f"{workers} workers: {walls[workers][-1]:.1f} s", file=sys.stderr, flush=True)
    median = {workers: sorted(them)[len(them) // 2] for workers, them in walls.items()}
    print(
        f"{len(tracks)} tracks, {audio_s / 60:.0f} min, {len(os.sched_getaffinity(0))} cores, "
        f"load average of the last 15 minutes {os.getloadavg()[2]:.1f}\n"
    )
    print("| workers = cores | wall s |\n|---|---|")
    for workers, wall_s in median.items():
        print(f"| {workers} | {wall_s:.1f} |")
    one, two = (median[workers] for workers in WORKERS)
    print(f"\n{one / two:.2f}x with two workers; {len(digests)} different dataset(s)")
    return int(len(digests) != 1)


if __name__ == "__main__":
    sys.exit(main())
