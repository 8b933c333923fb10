"""Compares what RoFormers and HTDemucs cost for one clip of 10 s, at their published sizes.

The weights are random: the work does not depend on them. BS-RoFormer is only counted. Needs more
than singsong:

    pip install ./examples/roformer_plugin bs-roformer-infer
    python -m benchmarks.separator_cost

Separators run on one thread, in turns, and core-seconds are read, so that a busy machine disturbs
the ratio little. 5 GB of memory, 2 GB of temporary files, five minutes a round.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
import yaml
from bs_roformer import BSRoformer
from mel_band_roformer import MelBandRoformer
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.support.demucs_files import (
    PUBLISHED_HTDEMUCS,
    htdemucs,
    save_demucs_safetensors,
)
from singsong.models.protocols import Separator
from singsong.models.registry import load_model

RATE_HZ = 44100
CLIP_S = 10
ROFORMER = {
    **{"stereo": True, "time_transformer_depth": 1, "freq_transformer_depth": 1},
    **{"stft_hop_length": 441, "mask_estimator_depth": 2},
}
KIM = {**ROFORMER, "dim": 384, "depth": 6, "num_bands": 60}
VIPERX = {**ROFORMER, "dim": 512, "depth": 12}
CHUNKS = {8: "two forwards of 8 s", 11: "one of 11 s"}


def save_htdemucs(folder: Path) -> str:
    """Writes a network of the size of the published htdemucs, and returns its spec."""
    path = folder / "htdemucs.safetensors"
    save_demucs_safetensors(htdemucs(**PUBLISHED_HTDEMUCS), path)
    return f"demucs:{path}"


def save_roformer(folder: Path) -> dict[str, str]:
    """Writes a network of the size of Kim's and returns its spec for chunks of 8 and 11 s."""
    torch.save(MelBandRoformer(**KIM).state_dict(), folder / "kim.ckpt")
    specs = {}
    for seconds, forwards in CHUNKS.items():
        config = {
            "model": KIM,
            "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
            "inference": {"chunk_size": seconds * RATE_HZ},
        }
        path = folder / f"{seconds}.yaml"
        path.write_text(yaml.safe_dump(config))
        specs[f"Mel-Band RoFormer (Kim), {forwards}"] = (
            f"melband-roformer:{folder / 'kim.ckpt'},config={path}"
        )
    return specs


def gflop(network: torch.nn.Module, *, seconds: float, forwards: int, device: str) -> float:
    with torch.inference_mode(), torch.device(device), FlopCounterMode(display=False) as counter:
        network.eval().to(device)(torch.zeros(1, 2, round(seconds * RATE_HZ)))
    return forwards * counter.get_total_flops() / 1e9


def counted() -> dict[str, float]:
    """Returns the work of each network; on the device "meta", nothing is computed for it."""
    # The fused attention of torch, off in `singsong`, would not be counted.
    torch.backends.mha.set_fastpath_enabled(False)
    work = {
        "HTDemucs": gflop(htdemucs(**PUBLISHED_HTDEMUCS), seconds=7.8, forwards=2, device="cpu")
    }
    for name, kind, sizes in (
        ("Mel-Band RoFormer (Kim)", MelBandRoformer, KIM),
        ("BS-RoFormer (viperx)", BSRoformer, VIPERX),
    ):
        for seconds, forwards in CHUNKS.items():
            work[f"{name}, {forwards}"] = gflop(
                kind(**sizes),
                seconds=seconds,
                forwards=2 if seconds < CLIP_S else 1,
                device="meta",
            )
    return work


def core_s(separator: Separator, mix: np.ndarray) -> float:
    start = time.process_time()
    separator.separate_vocals(mix)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    mix = np.random.default_rng(0).normal(0, 0.1, (1, CLIP_S * RATE_HZ)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        specs = {"HTDemucs": save_htdemucs(Path(folder)), **save_roformer(Path(folder))}
        separators = {name: load_model("separator", spec) for name, spec in specs.items()}
    spent: dict[str, list[float]] = {name: [] for name in separators}
    for _ in range(rounds):
        for name, separator in separators.items():
            spent[name].append(core_s(separator, mix))
    work, times = counted(), {name: median(found) for name, found in spent.items()}
    print("| one clip of 10 s | GFLOP | times HTDemucs | core s | times HTDemucs |")
    print("|---|---|---|---|---|")
    for name, count in work.items():
        ratio = f"{count / work['HTDemucs']:.1f}"
        measured = "- | -"
        if name in times:
            measured = f"{times[name]:.1f} | {times[name] / times['HTDemucs']:.1f}"
        print(f"| {name} | {count:.0f} | {ratio} | {measured} |")


if __name__ == "__main__":
    main()
