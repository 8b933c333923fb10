"""Evaluations: what is measured, on which clips, and what the best value decides."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.support.code_dataset import recommitted
from benchmarks.support.training_log import logged
from singsong.dataset.manifest import DatasetError, read_manifest
from singsong.training.accompaniment_model import AccompanimentModel, target_logits
from singsong.training.checkpoints import list_checkpoints
from singsong.training.featurization import Featurization
from singsong.training.fine_model import FineModel
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.losses import token_losses
from singsong.training.train import train
from tests.support.trained import quick_config, write_trainable


def test_evaluation_is_the_likelihood_of_the_coarse_codes(data: Path, tmp_path: Path) -> None:
    result = train(quick_config(data, tmp_path, steps=2, evaluate_every=2))
    assert result.best is not None
    model = AccompanimentModel.from_pretrained(result.best.model)
    reading = LoaderConfig(batch_size=16, split="validation", shuffle=False, epochs=1)
    (batch,) = ShardDataset(str(data), Featurization(), reading)
    source, target = batch["input_tokens"], batch["target_tokens"]
    log_p = target_logits(model, source, target).log_softmax(-1)
    nll = -log_p.gather(-1, target[..., None])[..., 0]
    assert result.best.metrics["nll"] == pytest.approx(nll[:, 5:].mean().item(), rel=1e-5)
    loss, _ = token_losses(target_logits(model, source, target), target)
    assert result.best.metrics["loss"] == pytest.approx(loss.mean().item(), rel=1e-5)
    assert logged(tmp_path, "validation/nll") == {2: pytest.approx(nll[:, 5:].mean().item())}


def test_the_fine_model_is_measured_on_fine_codes(data: Path, tmp_path: Path) -> None:
    config = quick_config(
        data, tmp_path, kind="fine", crop_seconds=0.5, evaluate_every=6, relative_positions=False
    )
    result = train(config)
    assert result.best is not None
    model = FineModel.from_pretrained(result.best.model)
    assert not model.config.relative_positions
    assert result.best.metrics["nll"] < result.best.metrics["loss"]


def test_a_metric_of_one_s_own_decides_and_ends_the_run(data: Path, tmp_path: Path) -> None:
    values = iter([3.0, 1.0, 2.0, 2.0, 0.0])
    result = train(
        quick_config(
            data, tmp_path, steps=10, evaluate_every=1, best_metric="fad", patience=2, keep_last=1
        ),
        extra_metrics={"fad": lambda _model: next(values)},
    )
    assert (result.step, result.reason) == (4, "patience")
    assert result.best is not None
    assert (result.best.step, result.best.metrics["fad"]) == (2, 1.0)
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [2, 4]
    assert logged(tmp_path, "validation/fad") == {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.0}


def test_a_metric_sees_the_model_without_dropout(data: Path, tmp_path: Path) -> None:
    seen = []

    def measure(model: Any) -> float:
        seen.append((model.training, torch.is_grad_enabled()))
        return 0.0

    config = quick_config(data, tmp_path, steps=2, evaluate_every=1)
    train(config, extra_metrics={"fad": measure})
    assert seen == [(False, False)] * 2


def test_a_dataset_without_clips_to_validate_on_is_told_before_training(tmp_path: Path) -> None:
    folder = write_trainable(tmp_path / "data")
    manifest = read_manifest(str(folder))
    shards = [shard for shard in manifest.shards if shard.split == "train"]
    recommitted(folder, shards=tuple(shards))
    with pytest.raises(DatasetError, match=r"holds no records.*--splits .*--evaluate-every 0"):
        train(quick_config(folder, tmp_path / "run", evaluate_every=1))
