"""Settings of a run: what is refused, and how they are stored."""

from pathlib import Path

import pytest
import torch

from singsong.training.processes import Processes
from singsong.training.train import Trainer, train
from tests.support.trained import quick_config


def test_settings_that_fit_nothing_are_refused(data: Path, tmp_path: Path) -> None:
    for changes, message in (
        ({"preset": "huge"}, "preset must be one of"),
        ({"best_metric": "fad"}, r"best_metric must be one of \['loss', 'nll'\], found 'fad'"),
        ({"device": "cuda:99"}, "this machine has"),
        ({"start_from": str(tmp_path / "nowhere")}, "is not a model"),
    ):
        with pytest.raises(ValueError, match=message):
            train(quick_config(data, tmp_path / "run", **changes))
    for changes, message in (
        ({"kind": "coarse"}, "kind must be one of"),
        ({"steps": 0}, "steps must be at least 1, found 0"),
        ({"save_every": -1}, "save_every must not be negative, found -1"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), found 1\.0"),
        ({"z_loss": -1.0}, "z_loss must not be negative"),
        ({"warmup_steps": 0}, "warmup_steps must be at least 1"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"patience": 3}, "it and evaluate_every must be at least 1, found 3 and 0"),
        ({"featurization": "A-S"}, "featurization must be one of"),
        ({"kind": "fine", "crop_seconds": 0.0}, "seconds of a crop must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            quick_config(data, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_processes_cannot_share_is_refused(data: Path, tmp_path: Path) -> None:
    processes = Processes(rank=0, count=3, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="multiple of the 3 processes, found 8"):
        Trainer(quick_config(data, tmp_path), processes, resume=False, extra_metrics={})


def test_a_checkpoint_calls_the_kind_of_model_its_stage(tmp_path: Path) -> None:
    """As the checkpoints of older versions do, which can be resumed."""
    for kind in ("accompaniment", "fine"):
        stored = quick_config(tmp_path, tmp_path / "run", kind=kind).to_json()
        assert (next(iter(stored)), stored["stage"]) == ("stage", kind)
        assert "kind" not in stored
