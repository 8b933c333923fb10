"""What a training run does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from singsong.schemas.json_values import recipe_differences
from singsong.schemas.recipe import DTYPES
from singsong.training.featurization import Featurization, FineCrops, View
from singsong.training.losses import Z_LOSS
from singsong.training.optimizer import WARMUP_STEPS
from singsong.training.stages import STAGES

_MAY_CHANGE = frozenset(
    (
        "data",
        "output",
        "start_from",
        "steps",
        "micro_batch_size",
        "device",
        "dtype",
        "compiled",
        "gradient_checkpointing",
        "evaluate_every",
        "save_every",
        "log_every",
        "keep_last",
        "best_metric",
        "patience",
        "cache",
    )
)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What a training run does.

    Attributes:
        stage: "accompaniment" or "fine".
        data: Folder or URL of the dataset.
        output: Folder of the run.
        preset: Size of the model, a name in `singsong.training.presets`.
        featurization: What the accompaniment model reads and writes.
        noisy: Whether it reads the noisy vocals.
        crop_seconds: Length of the fine model's crops.
        relative_positions: Overrides what the stage has; None does not.
        dropout: Rate of dropout.
        z_loss: See `token_losses`.
        warmup_steps: See `learning_rate`.
        start_from: A run, checkpoint or model whose weights to start from.
        steps: How many updates.
        batch_size: Clips in an update, over all processes.
        micro_batch_size: Clips that a process computes at once; more accumulate.
        seed: Of weights, order, crops and dropout.
        device: "cpu" or "cuda"; None takes CUDA where there is one.
        dtype: What is computed in; parameters are float32. None is bfloat16 on CUDA.
        compiled: Whether `torch.compile` is used.
        gradient_checkpointing: Whether activations are computed twice to save memory.
        evaluate_every: Steps between evaluations, each of which saves a checkpoint; 0 never does.
        save_every: Steps between checkpoints; 0 saves only at evaluations and at the end.
        log_every: Steps between entries in TensorBoard.
        keep_last: How many of the last checkpoints stay, besides the best.
        best_metric: The metric whose lowest value is the best.
        patience: So many evaluations without a better value end the run; None never does.
        cache: A local folder that keeps remote shards.

    Raises:
        ValueError: A field is outside its range.

    Paper: 4.4: batches of 512, 200k steps, dropout 0.1. Default: an evaluation every 5k steps;
        the paper chose checkpoints by FAD.
    """

    stage: str
    data: str
    output: str
    preset: str = "base"
    featurization: str = "S-SA"
    noisy: bool = True
    crop_seconds: float = 3.0
    relative_positions: bool | None = None
    dropout: float = 0.1
    z_loss: float = Z_LOSS
    warmup_steps: int = WARMUP_STEPS
    start_from: str | None = None
    steps: int = 200_000
    batch_size: int = 512
    micro_batch_size: int = 8
    seed: int = 0
    device: str | None = None
    dtype: str | None = None
    compiled: bool = False
    gradient_checkpointing: bool = False
    evaluate_every: int = 5000
    save_every: int = 1000
    log_every: int = 10
    keep_last: int = 2
    best_metric: str = "nll"
    patience: int | None = None
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {STAGES}, found {self.stage!r}")
        for name in (
            "steps",
            "batch_size",
            "micro_batch_size",
            "warmup_steps",
            "log_every",
            "keep_last",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("evaluate_every", "save_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), found {self.dropout}")
        if self.z_loss < 0:
            raise ValueError(f"z_loss must not be negative, found {self.z_loss}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, found {self.dtype!r}")
        if self.patience is not None and (self.patience < 1 or not self.evaluate_every):
            raise ValueError(
                f"patience counts evaluations: it must be at least 1, and evaluate_every too, "
                f"found {self.patience} and {self.evaluate_every}"
            )
        if "://" in self.output:
            raise ValueError(f"output must be a folder of this machine, found {self.output!r}")
        self.view  # noqa: B018  (checks itself)

    @property
    def view(self) -> View:
        """What is read of a record."""
        if self.stage == "fine":
            return FineCrops(seconds=self.crop_seconds, seed=self.seed)
        return Featurization(name=self.featurization, noisy=self.noisy)

    @property
    def view_json(self) -> dict[str, Any]:
        """What is read of a record, as JSON values."""
        if self.stage == "fine":
            return {"crop_seconds": self.crop_seconds}
        return {"featurization": self.featurization, "noisy": self.noisy}

    def to_json(self) -> dict[str, Any]:
        """Returns the config as JSON values."""
        return asdict(self)


def config_differences(old: Mapping[str, Any], new: TrainConfig) -> list[str]:
    """Returns a line for each setting that a run may not change when it goes on.

    Args:
        old: `TrainConfig.to_json` of the run.
        new: What it is to go on with.
    """
    fixed = new.to_json().keys() - _MAY_CHANGE
    return recipe_differences(
        {name: old.get(name) for name in fixed},
        {name: value for name, value in new.to_json().items() if name in fixed},
    )
