"""The settings of a training run. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from singsong.schemas.json_values import recipe_differences
from singsong.schemas.recipe import DTYPES
from singsong.training.featurization import Featurization, FineCrops, ModelKind, View
from singsong.training.presets import WARMUP_STEPS, Z_LOSS

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
    """The settings of a training run.

    Attributes:
        kind: Which model is trained: "accompaniment" or "fine".
        data: Folder or URL of the dataset.
        output: Folder of the run.
        preset: Size of the model, a name in `singsong.training.presets`.
        featurization: What the accompaniment model reads and writes, see `Featurization`.
        noisy: Whether it reads the noisy vocals.
        crop_seconds: Length of the fine model's crops.
        relative_positions: T5's relative positions or fixed sinusoids; None takes the default of
            the kind of model.
        dropout: Dropout rate.
        z_loss: See `token_losses`.
        warmup_steps: See `learning_rate`.
        start_from: A run, checkpoint or model to take the first weights from.
        steps: Number of updates.
        batch_size: Clips in an update, over all processes.
        micro_batch_size: Clips that a process computes at once; gradients of more accumulate.
        seed: Seed of weights, order, crops and dropout.
        device: "cpu" or "cuda"; None takes CUDA where it is available.
        dtype: Type of the computation; parameters are float32. None is bfloat16 on CUDA, else
            float32.
        compiled: Whether `torch.compile` is used.
        gradient_checkpointing: Whether activations are computed twice to save memory.
        evaluate_every: Steps between evaluations, each of which saves a checkpoint; 0 never does.
        save_every: Steps between checkpoints; 0 saves only at evaluations and at the end.
        log_every: Steps between entries in TensorBoard.
        keep_last: How many of the last checkpoints stay, besides the best.
        best_metric: The metric whose lowest value is the best.
        patience: Number of evaluations without a better value that end the run; None never ends it.
        cache: A local folder that keeps remote shards.

    Raises:
        ValueError: A field is outside its range.

    Paper: 4.4: batches of 512, 200k steps, dropout 0.1. Default: an evaluation every 5k steps;
        the paper chose checkpoints by FAD.

    >>> config = TrainConfig(kind="accompaniment", data="dataset", output="run", preset="tiny")
    >>> config.view
    Featurization(name='S-SA', noisy=True)
    """

    kind: ModelKind | Literal["accompaniment", "fine"]
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
        kinds = [str(kind) for kind in ModelKind]
        if self.kind not in kinds:
            raise ValueError(f"kind must be one of {kinds}, found {self.kind!r}")
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
                f"patience counts evaluations: it and evaluate_every must be at least 1, "
                f"found {self.patience} and {self.evaluate_every}"
            )
        if "://" in self.output:
            raise ValueError(f"output must be a local folder, found {self.output!r}")
        self.view  # noqa: B018  (checks itself)

    @property
    def view(self) -> View:
        """What is read of a record."""
        if self.kind == ModelKind.FINE:
            return FineCrops(seconds=self.crop_seconds)
        return Featurization(name=self.featurization, noisy=self.noisy)

    def to_json(self) -> dict[str, object]:
        """Returns the config as JSON values; the kind goes by the name "stage" in checkpoints."""
        value = asdict(self)
        return {"stage": str(value.pop("kind")), **value}


def config_differences(old: Mapping[str, object], new: TrainConfig) -> list[str]:
    """Returns a line for each setting that differs and may not change when a run is resumed.

    Args:
        old: `TrainConfig.to_json` of the run so far.
        new: The config it is resumed with.
    """
    fixed = new.to_json().keys() - _MAY_CHANGE
    return recipe_differences(
        {name: old.get(name) for name in fixed},
        {name: value for name, value in new.to_json().items() if name in fixed},
    )
