"""Compares separators: core-seconds for a clip of 10 s, and SDR on real music.

    python -m benchmarks.separators
    python -m benchmarks.separators spleeter demucs:htdemucs mdx:vocals.onnx,stem=vocals,n_fft=6144

Each separator named, which has its weights here or can download them, takes part in both tables. In
the first are also MDX-Net and HTDemucs with random weights and of the published sizes, and MDX-Net
as its authors run it, but in torch. All of them separate the same noise in turn, on one thread.

SDR is 10 log10(|reference|^2 / |reference - estimate|^2) over the whole of the 6 s of MUSDB18 that
come with `stempeg`. The instrumental is the mix without the vocals.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.support.demucs_files import (
    PUBLISHED_HTDEMUCS,
    htdemucs,
    save_demucs_safetensors,
)
from benchmarks.support.mdx_net import (
    ConvTdfNet,
    export,
    official_vocals,
    random_net,
)
from benchmarks.support.real_music import musdb_excerpt
from singsong.models.htdemucs import DemucsSeparator
from singsong.models.mdx import MdxSeparator
from singsong.models.protocols import Separator, StereoSeparator
from singsong.models.registry import load_model
from singsong.schemas.arrays import FloatArray

GEOMETRY = {"n_fft": 6144, "bins": 2048, "frames": 256}
CLIP = 441_000


def sized_separators(folder: Path, clip: FloatArray) -> dict[str, Callable[[], object]]:
    """Returns what runs each separator of random weights; prints how exact the MDX-Nets are."""
    net = random_net(frames=GEOMETRY["frames"])
    path = export(net, folder / "vocals.onnx", bins=GEOMETRY["bins"], frames=GEOMETRY["frames"])
    mdx = MdxSeparator(str(path), stem="vocals", n_fft=GEOMETRY["n_fft"])
    save_demucs_safetensors(htdemucs(**PUBLISHED_HTDEMUCS), folder / "htdemucs.safetensors")
    demucs = DemucsSeparator(str(folder / "htdemucs.safetensors"))
    both = np.stack([clip, clip])

    def official() -> FloatArray:
        return official_vocals(net, both, **GEOMETRY)

    print_errors(net, both, {"mdx": mdx.separate_stereo(both[None])[0], "torch": official()})
    return {
        "mdx, published size": lambda: mdx.separate_vocals(clip[None]),
        "MDX-Net, official inference in torch": official,
        "demucs, size of htdemucs": lambda: demucs.separate_vocals(clip[None]),
    }


def print_errors(net: ConvTdfNet, mix: FloatArray, found: dict[str, FloatArray]) -> None:
    """Prints how far vocals are from those that torch finds in double precision."""
    exact = official_vocals(copy.deepcopy(net).double(), mix.astype(np.float64), **GEOMETRY)
    print(
        f"MDX-Net, published size: error, where the vocals have a peak of {np.abs(exact).max():.2f}"
    )
    for name, vocals in found.items():
        error = vocals - exact
        level_db = 10 * np.log10(np.square(error).mean() / np.square(exact).mean())
        print(f"{name}: {level_db:.1f} dB, at most {np.abs(error).max():.1e}")
    print(flush=True)


def core_s(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def print_speeds(runs: dict[str, Callable[[], object]], *, rounds: int) -> None:
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            spent = core_s(run)
            if number:  # the first round warms up
                measured[name].append(spent)
    medians = {name: statistics.median(values) for name, values in measured.items()}
    first = next(iter(medians.values()))
    print("| separator | core s for 10 s of audio | of MDX-Net's |\n|---|---|---|")
    for name, spent in medians.items():
        print(f"| {name} | {spent:.2f} | {spent / first:.2f} |", flush=True)


def sdr_db(reference: FloatArray, estimate: FloatArray) -> float:
    exact = reference.astype(np.float64)
    return float(10 * np.log10(np.square(exact).sum() / np.square(exact - estimate).sum()))


def print_quality(name: str, separator: Separator, mix: FloatArray, vocals: FloatArray) -> None:
    """Prints the SDR of vocals and instrumental: from mono, in stereo, and averaged from stereo."""

    def pair(mix: FloatArray, vocals: FloatArray, found: FloatArray) -> str:
        return f"{sdr_db(vocals, found):.2f} / {sdr_db(mix - vocals, mix - found):.2f}"

    mono_mix, mono_vocals = mix.mean(axis=0), vocals.mean(axis=0)
    cells = [pair(mono_mix, mono_vocals, separator.separate_vocals(mono_mix[None])[0])]
    if isinstance(separator, StereoSeparator):
        found = separator.separate_stereo(mix[None])[0]
        cells += [pair(mono_mix, mono_vocals, found.mean(axis=0)), pair(mix, vocals, found)]
    print(f"| {name} | {' | '.join([*cells, '', ''][:3])} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("separators", nargs="*", default=["spleeter"], metavar="SEPARATOR")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    named = {spec: load_model("separator", spec) for spec in args.separators}
    with tempfile.TemporaryDirectory() as folder:
        clip = np.random.default_rng(0).normal(0, 0.1, CLIP).astype(np.float32)
        runs = sized_separators(Path(folder), clip)
    for spec, separator in named.items():
        runs[spec] = lambda separator=separator: separator.separate_vocals(clip[None])
    print_speeds(runs, rounds=args.rounds)
    print("\nSDR in dB, vocals / instrumental\n")
    print("| separator | mono | stereo, then averaged | stereo |\n|---|---|---|---|")
    mix, vocals = musdb_excerpt()
    for spec, separator in named.items():
        print_quality(spec, separator, mix, vocals)


if __name__ == "__main__":
    main()
