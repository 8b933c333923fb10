"""What `singsong fit` fits. No libraries, so that the command line checks it at once."""

from __future__ import annotations

from dataclasses import dataclass

from singsong.schemas.geometry import MAX_CODEBOOK_SIZE
from singsong.schemas.recipe import ModelSpec
from singsong.transforms.step_config import StepConfig


@dataclass(frozen=True, kw_only=True)
class FitConfig(StepConfig):
    """What is fitted, and how.

    Attributes:
        kind: "acoustic" or "semantic".
        output: The safetensors file to write.
        scratch: Folder or URL for the drawn frames; every worker must reach it.
        encoder: Fit a codebook for this encoder instead of a lite model.
        seed: Of the drawing and of the first codes.
        clip_seconds: Frames are drawn from clips of this length.
        frames_per_clip: The most frames drawn from each.
        max_frames: The most frames fitted; of more, a keyed draw picks these.
        iterations: Rounds of k-means.
        codes: Size of each codebook. Paper: 3.2.
        device: Where an encoder runs.
        progress: Folder of this machine to report progress to.
        start_process: Called once in each worker.

    Raises:
        ValueError: A number is not positive, the codes do not fit in uint16, or those of the lite
            acoustic codec, half of which are the others' negatives, are an odd number.
    """

    kind: str
    output: str
    scratch: str
    encoder: ModelSpec | None = None
    seed: int = 0
    clip_seconds: float = 10.0
    frames_per_clip: int = 250
    max_frames: int = 300_000
    iterations: int = 20
    codes: int = 1024
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("clip_seconds", "frames_per_clip", "max_frames", "iterations", "codes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")
        if self.codes > MAX_CODEBOOK_SIZE:
            raise ValueError(f"codes must be at most {MAX_CODEBOOK_SIZE}, found {self.codes}")
        if self.kind == "acoustic" and self.codes % 2:
            raise ValueError(f"codes must be even, found {self.codes}")
