"""Where a run starts: from its last checkpoint, bit for bit, or with the weights of another."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.code_dataset import recommitted
from benchmarks.support.training_log import logged
from singsong.dataset.manifest import read_manifest
from singsong.training.checkpoints import find_model, list_checkpoints
from singsong.training.train import Trainer, train
from tests.support.trained import quick_config, saved_weights, write_trainable


@pytest.mark.parametrize("kind", ["accompaniment", "fine"])
def test_forty_steps_are_twenty_and_twenty(data: Path, tmp_path: Path, kind: str) -> None:
    """Weights, optimiser, order, crops and dropout go on as if nothing had happened."""
    how = {"kind": kind, "batch_size": 4, "dropout": 0.2, "crop_seconds": 0.5}
    whole, halves = (quick_config(data, tmp_path / name, **how) for name in ("whole", "halves"))
    train(replace(whole, steps=40))
    train(replace(halves, steps=20))
    train(replace(halves, steps=40), resume=True)
    first, second = (logged(tmp_path / name, "train/loss") for name in ("whole", "halves"))
    assert len(first) == 40
    assert first == second
    (one,), (other, last) = (list_checkpoints(tmp_path / name) for name in ("whole", "halves"))
    assert (one.step, other.step, last.step) == (40, 20, 40)
    assert last.loader == one.loader
    for name in ("model/model.safetensors", "optimizer.safetensors"):
        assert (last.folder / name).read_bytes() == (one.folder / name).read_bytes()


def test_a_run_goes_on_only_when_asked_and_as_it_was(data: Path, tmp_path: Path) -> None:
    train(quick_config(data, tmp_path, steps=1), resume=True)  # there is none yet
    with pytest.raises(ValueError, match="holds a run at step 1: pass --resume to continue"):
        train(quick_config(data, tmp_path, steps=2))
    with pytest.raises(ValueError, match=r"\(batch_size: 8 -> 4; seed: 0 -> 1\)"):
        train(quick_config(data, tmp_path, steps=2, batch_size=4, seed=1), resume=True)
    result = train(quick_config(data, tmp_path, steps=2, micro_batch_size=4), resume=True)
    assert result.step == 2
    assert train(quick_config(data, tmp_path, steps=2), resume=True).step == 2


def test_another_recipe_and_another_dataset_are_refused(tmp_path: Path) -> None:
    folder = write_trainable(tmp_path / "data")
    train(quick_config(folder, tmp_path / "run", steps=1))
    manifest = read_manifest(str(folder))
    recipe = dict(manifest.recipe)
    recipe["encode"] = {**recipe["encode"], "noise_sigma": 0.5}
    recommitted(folder, recipe=recipe)
    more = quick_config(folder, tmp_path / "run", steps=2)
    with pytest.raises(ValueError, match=r"recipe\.encode\.noise_sigma: 0\.01 -> 0\.5"):
        train(more, resume=True)
    recommitted(folder, recipe=manifest.recipe, shards=manifest.shards[:-1])
    with pytest.raises(ValueError, match="dataset_digest was"):
        train(more, resume=True)


def test_codes_of_another_codebook_are_refused(tmp_path: Path) -> None:
    folder = write_trainable(tmp_path / "data")
    train(quick_config(folder, tmp_path / "run", steps=1))
    recommitted(folder, weights={"acoustic": "zzz", "semantic": "bbb", "separator": "ccc"})
    more = quick_config(folder, tmp_path / "run", steps=2)
    with pytest.raises(ValueError, match=r"other settings \(weights\.acoustic: aaa -> zzz\)"):
        train(more, resume=True)
    other = quick_config(folder, tmp_path / "new", start_from=str(tmp_path / "run"))
    with pytest.raises(ValueError, match=r"other codes \(weights\.acoustic: aaa -> zzz\)"):
        train(other)


def test_a_run_may_start_with_the_weights_of_another(data: Path, tmp_path: Path) -> None:
    train(quick_config(data, tmp_path / "first"))
    first = str(tmp_path / "first")
    again = quick_config(data, tmp_path / "second", start_from=first, steps=1, dropout=0.3)
    trainer = None

    def remember(self: Trainer, *args: Any, **how: Any) -> None:
        nonlocal trainer
        start(self, *args, **how)
        trainer = {name: value.clone() for name, value in self.model.state_dict().items()}

    start = Trainer.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "__init__", remember)
        train(again)
    assert trainer is not None
    for name, value in saved_weights(tmp_path / "first").items():
        assert trainer[name].equal(value)
    config = json.loads((find_model(tmp_path / "second") / "config.json").read_text())
    assert config["dropout_rate"] == 0.3
    larger = quick_config(data, tmp_path / "third", start_from=first, preset="small")
    with pytest.raises(ValueError, match=r"has another shape \(d_ff: 128 -> 1024; d_kv: 16 -> 64"):
        train(larger)
