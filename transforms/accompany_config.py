"""How vocals are accompanied. No libraries, so that the command line checks it at once."""

from __future__ import annotations

from dataclasses import dataclass

from singsong.generation.sampling_config import DEFAULT_SAMPLING, Sampling
from singsong.schemas.recipe import ModelSpec
from singsong.transforms.step_config import StepConfig


@dataclass(frozen=True, kw_only=True)
class AccompanyConfig(StepConfig):
    """How vocals are accompanied.

    Attributes:
        checkpoint: Folder of a run or of a model.
        fine: The same for the fine model; None decodes the coarse codes alone.
        acoustic: Where the codec is; None takes the one of the checkpoint's dataset.
        semantic: Where the semantic encoder is; None takes the one of the checkpoint's dataset.
        sampling: How codes are drawn.
        seeds: One for each accompaniment of a file.
        stem: Whether the instrumental is written alone, without the vocals.
        device: Where the models run.

    Raises:
        ValueError: There is no seed, or one twice.
    """

    checkpoint: str
    fine: str | None = None
    acoustic: ModelSpec | None = None
    semantic: ModelSpec | None = None
    sampling: Sampling = DEFAULT_SAMPLING
    seeds: tuple[int, ...] = (0,)
    stem: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different, one or more, found {list(self.seeds)}")
