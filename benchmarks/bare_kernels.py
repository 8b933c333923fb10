"""Runs only the kernels of `singsong prepare` on all cores, without the pipeline.

Decodes, separates, resamples and encodes the same clips with the same models, one track per thread,
and discards the result: no hashing, no filter, no checks and no output files.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.audio.resample import resample
from singsong.models.bundle import load_models
from singsong.runners.local import LocalOptions, set_up_process
from singsong.schemas.recipe import EncodeRecipe

CLIP = 441000


def run_kernels(path: Path) -> int:
    models = load_models(EncodeRecipe())
    clips = 0
    for mix in ClipCutter(clip_samples=CLIP).cut(stream_mono(str(path), rate_hz=44100)):
        vocals = models.separator.separate_vocals(mix[None])[0]
        low = resample(np.stack([vocals, mix - vocals]), from_hz=44100, to_hz=16000)
        sounds = np.stack([low[0], low[0], low[1]])
        models.acoustic.encode(sounds)
        models.semantic.encode(sounds)
        clips += 1
    return clips


def main(music: Path) -> None:
    options = LocalOptions()
    set_up_process()
    load_models(EncodeRecipe())
    with ThreadPoolExecutor(options.worker_count) as pool:
        print(sum(pool.map(run_kernels, sorted(music.iterdir()))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
