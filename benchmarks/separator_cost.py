"""Compares what a Mel-Band RoFormer and HTDemucs cost for one clip, at their published sizes.

The weights are random: the work does not depend on them. Needs the plug-in of
`examples/roformer_plugin` beside singsong:

    pip install ./examples/roformer_plugin
    python -m benchmarks.separator_cost

Everything runs on one thread, in turns, and core-seconds are read, so that a busy machine disturbs
the ratio little. 4 GB of memory and 2 GB of temporary files.
"""

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from statistics import median

import numpy as np
import torch
import yaml
from demucs.htdemucs import HTDemucs
from mel_band_roformer import MelBandRoformer
from torch.utils.flop_counter import FlopCounterMode

from singsong.models.protocols import Separator
from singsong.models.registry import load_model

CLIP_S = 10
SIZES = {
    **{"dim": 384, "depth": 6, "stereo": True, "num_bands": 60, "mask_estimator_depth": 2},
    **{"time_transformer_depth": 1, "freq_transformer_depth": 1, "stft_hop_length": 441},
}
"""Those of Kim's model, as in the configuration that comes with `mel_band_roformer`."""


def save_htdemucs(folder: Path) -> str:
    """Writes a network of the size of the published htdemucs, and returns its spec."""
    sources = ["drums", "bass", "other", "vocals"]
    network = HTDemucs(sources, bottom_channels=512, dconv_mode=3, segment=Fraction(39, 5))
    args, kwargs = network._init_args_kwargs
    path = folder / "htdemucs.th"
    package = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": network.state_dict()}
    torch.save(package, path)
    return f"demucs:{path}"


def save_roformer(folder: Path) -> dict[str, str]:
    """Writes a network of the size of Kim's and returns its spec for chunks of 8 and 11 s."""
    torch.save(MelBandRoformer(**SIZES).state_dict(), folder / "kim.ckpt")
    specs = {}
    for seconds in (8, 11):
        config = {
            "model": SIZES,
            "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
            "inference": {"chunk_size": seconds * 44100},
        }
        path = folder / f"{seconds}.yaml"
        path.write_text(yaml.safe_dump(config))
        name = f"Mel-Band RoFormer, chunks of {seconds} s"
        specs[name] = f"melband-roformer:{folder / 'kim.ckpt'},config={path}"
    return specs


def gflop(separator: Separator, mix: np.ndarray) -> float:
    with FlopCounterMode(display=False) as counter:
        separator.separate_vocals(mix)
    return counter.get_total_flops() / 1e9


def core_s(separator: Separator, mix: np.ndarray) -> float:
    start = time.process_time()
    separator.separate_vocals(mix)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    mix = np.random.default_rng(0).normal(0, 0.1, (1, CLIP_S * 44100)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        specs = {"HTDemucs": save_htdemucs(Path(folder)), **save_roformer(Path(folder))}
        separators = {name: load_model("separator", spec) for name, spec in specs.items()}
    work = {name: gflop(separator, mix) for name, separator in separators.items()}
    spent: dict[str, list[float]] = {name: [] for name in separators}
    for _ in range(rounds):
        for name, separator in separators.items():
            spent[name].append(core_s(separator, mix))
    print(f"| one clip of {CLIP_S} s | GFLOP | core s | times HTDemucs |\n|---|---|---|---|")
    for name, times in spent.items():
        ratio = median(times) / median(spent["HTDemucs"])
        print(f"| {name} | {work[name]:.0f} | {median(times):.1f} | {ratio:.1f} |")


if __name__ == "__main__":
    main()
