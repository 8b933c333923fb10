"""What `benchmarks.gpu_check` measures: on which device, which models, and how much of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from singsong.pipelines.recipe_arguments import PROFILES
from singsong.schemas.recipe import DTYPES, ModelSpec

ROLES = ("separator", "acoustic", "semantic")
CPU_ONLY = "lite"
"""The name of the codec and the encoder that run on the CPU, whatever the device."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        clip_seconds: Length of a clip.
        songs: Number of generated songs.
        song_clips: Clips of a song.
        compared_clips: Clips of each song that are compared.
        compared_batch: The batch shape with which codes are compared.
        dtypes: What whole chains are compared in, and what speeds are measured in.
        separated_batches: The batch sizes of separation.
        chain_batch: The batch size of the whole chain.
        threads: How many threads run the whole chain at once.
        measure_s: How long a speed is measured, at least one run.
        codes: Number of semantic codes, where a codebook has to be made.
        updates: Updates of the trainer that are timed together.
        first_tokens: The tokens over which generation is compared with that of `transformers`.
    """

    clip_seconds: float = 10.0
    songs: int = 3
    song_clips: int = 8
    compared_clips: int = 2
    compared_batch: int = 2
    dtypes: tuple[str, ...] = DTYPES
    separated_batches: tuple[int, ...] = (1, 8, 32)
    chain_batch: int = 8
    threads: tuple[int, ...] = (1, 2, 4, 8)
    measure_s: float = 3.0
    codes: int = 1024
    updates: int = 5
    first_tokens: int = 128


TINY = Sizes(
    clip_seconds=1.0,
    songs=2,
    song_clips=2,
    compared_clips=1,
    dtypes=("float32",),
    separated_batches=(1, 2),
    chain_batch=2,
    threads=(1, 2),
    measure_s=0.0,
    codes=16,
    updates=1,
    first_tokens=4,
)
"""Small enough for a CPU, to try the script."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        device: "cpu", "cuda" or "cuda:<index>".
        folder: Where the material is, and the networks with random weights.
        tiny: Whether these networks are small.
        models: The spec of each role that was named; the others get random weights.
        data: The dataset to train on; None makes one of random codes.
        preset: The size of the model to train.
        batch_sizes: Clips in a training batch.
        generated: Windows that are generated at once.
        sizes: How much of each.
    """

    device: str
    folder: Path
    tiny: bool
    models: Mapping[str, str]
    data: str | None
    preset: str
    batch_sizes: tuple[int, ...]
    generated: tuple[int, ...]
    sizes: Sizes

    def path_of(self, role: str) -> Path:
        """Returns where the network with random weights of a role is, or its codebook."""
        return self.folder / "networks" / role

    def label(self, spec: ModelSpec) -> str:
        """Returns what the report calls a model."""
        if spec.source is not None and Path(spec.source).is_relative_to(self.folder):
            return f"{spec.name}, random weights"
        return f"{spec.name}:{spec.source}" if spec.source else spec.name


LITE = {role: ModelSpec.parse(spec) for role, spec in PROFILES["lite"].items()}
