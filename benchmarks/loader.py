"""Compares the loader with those of MosaicML, Hugging Face and webdataset.

    python -m benchmarks.loader
    python -m benchmarks.loader --rounds 1

All deliver the same batches of 32: int64 tokens, noisy S-SA, shuffled, on the CPU. The shard writer
of `singsong prepare` writes the records, which are then converted to the format of each peer, with
only the three columns that the batches need. Each measurement runs in a separate process, and each
peer in a separate environment, which is created once in `build/loader_peers`. An epoch is timed
from the start of the loader to the last batch. Files are read into the page cache beforehand.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.support.code_dataset import PAPER, write_dataset
from singsong.schemas.recipe import EncodeRecipe

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / "build" / "loader_peers"
PACKAGES = {
    "mds": ("mosaicml-streaming==0.13.0", "pyarrow"),
    "hf": ("datasets==5.2.0", "torch"),
    "wds": ("webdataset==1.0.2", "torch", "pyarrow"),
}
NAMES = {
    "ours": "singsong",
    "mds": "MosaicML streaming",
    "hf": "Hugging Face datasets",
    "wds": "webdataset",
}
WORKERS = (0, 2)


@dataclass
class Measured:
    """Measurements of one loader, with a list entry per round."""

    epochs: dict[int, list[dict[str, float]]] = field(
        default_factory=lambda: {workers: [] for workers in WORKERS}
    )
    resume_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    def samples_per_s(self, workers: int) -> float:
        return median([run["samples"] / run["epoch_s"] for run in self.epochs[workers]])

    def first_s(self, workers: int) -> float:
        return median([run["first_s"] for run in self.epochs[workers]])


def python_of(peer: str) -> str:
    """Returns the interpreter of a peer, and creates its environment if it is missing."""
    if peer == "ours":
        return sys.executable
    folder = ENVIRONMENTS / peer
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        print(f"creating the environment of {NAMES[peer]}", file=sys.stderr)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", folder, "-p", sys.executable], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python, *PACKAGES[peer]]
        subprocess.run(install, check=True)
        (folder / ".ready").touch()
    return str(python)


def measure(peer: str, action: str, data: Path, argument: object) -> tuple[Any, float]:
    """Returns what a separate process measured, and the peak memory of its process tree in MB."""
    module = ("-m", "benchmarks.loader_peers.measure")
    command = [python_of(peer), *module, peer, action, str(data), str(argument)]
    warm(data)
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT
        )
        peak_mb = [0.0]
        watcher = threading.Thread(target=watch, args=(process, peak_mb))
        if action == "contents":
            watcher.start()
        output, _ = process.communicate()
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output}{errors.read()}")
    if action == "contents":
        watcher.join()
    return json.loads(output.splitlines()[-1]), peak_mb[0]


def warm(folder: Path) -> None:
    """Reads all files, so that they are in the page cache."""
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            with Path(place, name).open("rb") as file:
                while file.read(1 << 20):
                    pass


def watch(process: "subprocess.Popen[str]", peak_mb: list[float]) -> None:
    """Samples the memory of a process and its children; shared pages count once."""
    root = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in [root, *root.children(recursive=True)]:
                total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        peak_mb[0] = max(peak_mb[0], total / 1e6)
        threading.Event().wait(0.05)


def compare(peers: list[str], folder: Path, *, clips: int, rounds: int) -> dict[str, Measured]:
    """Returns the measurements of each loader; they run in turn, under the same machine load."""
    states = {peer: measure(peer, "state", folder / peer, clips // 2)[0] for peer in peers}
    measured = {peer: Measured() for peer in peers}
    contents = {}
    for _, peer in itertools.product(range(rounds), peers):
        one = measured[peer]
        for workers in WORKERS:
            run, _ = measure(peer, "epoch", folder / peer, workers)
            if run["samples"] != clips:
                sys.exit(f"{NAMES[peer]} delivered {run['samples']} of {clips} samples")
            one.epochs[workers].append(run)
        state = json.dumps(states[peer])
        one.resume_s.append(measure(peer, "resume", folder / peer, state)[0])
        contents[peer], peak_mb = measure(peer, "contents", folder / peer, 2)
        one.peak_mb.append(peak_mb)
    if any(tokens != contents[peers[0]] for tokens in contents.values()):
        sys.exit(f"the loaders delivered different tokens: {contents}")
    return measured


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def report(measured: dict[str, Measured]) -> None:
    heads = [f"{what}, {n} workers" for what in ("samples/s", "first batch s") for n in WORKERS]
    heads += ["resume s, 0 workers", "peak MB, 2 workers"]
    print(f"| | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
    for peer, one in measured.items():
        cells = [f"{one.samples_per_s(n):.0f}" for n in WORKERS]
        cells += [f"{one.first_s(n):.3f}" for n in WORKERS]
        cells += [f"{median(one.resume_s):.3f}", f"{median(one.peak_mb):.0f}"]
        print(f"| {NAMES[peer]} | {' | '.join(cells)} |")
    print()
    others = [one for peer, one in measured.items() if peer != "ours"]
    for n in WORKERS if others and "ours" in measured else ():
        ratio = measured["ours"].samples_per_s(n) / max(one.samples_per_s(n) for one in others)
        print(f"samples/s of singsong to the fastest peer, {n} workers: {ratio:.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--clips", type=int, default=20480)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", default=list(NAMES), choices=list(NAMES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="singsong-benchmark-") as name:
        dataset = Path(name) / "dataset"
        write_dataset(
            dataset,
            clips=args.clips,
            shards=args.shards,
            clips_per_track=256,
            geometry=PAPER,
            recipe=EncodeRecipe(),
        )
        cores = len(os.sched_getaffinity(0))
        print(f"{args.clips} clips, {args.shards} shards, {cores} cores, {args.rounds} rounds\n")
        for peer in args.peers:
            (Path(name) / peer).mkdir()
            measure(peer, "convert", dataset, Path(name) / peer)
        report(compare(args.peers, Path(name), clips=args.clips, rounds=args.rounds))


if __name__ == "__main__":
    main()
