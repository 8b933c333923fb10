"""The loop: resumed bit for bit, the same over processes, and what it refuses."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks.support.code_dataset import recommitted
from benchmarks.support.training_log import events, logged
from singsong.dataset.manifest import DatasetError, read_manifest
from singsong.training.accompaniment_model import AccompanimentModel, target_logits
from singsong.training.checkpoints import find_model, list_checkpoints
from singsong.training.event_file import ScalarWriter
from singsong.training.featurization import Featurization
from singsong.training.fine_model import FineModel
from singsong.training.loader import LoaderConfig, ShardDataset
from singsong.training.losses import token_losses
from singsong.training.processes import Processes
from singsong.training.train import Trainer, TrainingError, train
from tests.support.trained import VOCABULARY, quick_config, write_trainable


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trainable(tmp_path_factory.mktemp("data"))


def weights(run: Path) -> dict[str, torch.Tensor]:
    model = AccompanimentModel.from_pretrained(list_checkpoints(run)[-1].model)
    return dict(model.state_dict())


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


def test_the_model_learns(data: Path, tmp_path: Path) -> None:
    """The codes are random: what can be learnt is which range each position has."""
    train(quick_config(data, tmp_path, steps=100, batch_size=4))
    losses = list(logged(tmp_path, "train/nll").values())
    semantic, coarse = np.log(VOCABULARY.semantic_size), np.log(VOCABULARY.codebook_size)
    uniform_in_range = (5 * semantic + 8 * coarse) / 13
    assert losses[0] > np.log(VOCABULARY.size)
    assert np.mean(losses[-10:]) < 1.15 * uniform_in_range


def test_accumulating_and_checkpointing_change_nothing_but_memory(
    data: Path, tmp_path: Path
) -> None:
    runs = {
        "whole": {},
        "pieces": {"micro_batch_size": 3},
        "thrifty": {"gradient_checkpointing": True},
    }
    for name, how in runs.items():
        train(quick_config(data, tmp_path / name, dropout=0.0, **how))
    expected = logged(tmp_path / "whole", "train/loss")
    for name in ("pieces", "thrifty"):
        assert logged(tmp_path / name, "train/loss") == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_compiling_changes_nothing_but_speed(
    data: Path, tmp_path: Path, give_up: Callable[[str], NoReturn]
) -> None:
    """Updates, an evaluation and what is saved, of layers that torch compiled."""
    if shutil.which("g++") is None:
        give_up("torch.compile needs a C++ compiler on a CPU")
    how = {"dropout": 0.0, "steps": 2, "evaluate_every": 2}
    plain, compiled = (quick_config(data, tmp_path / name, **how) for name in ("plain", "compiled"))
    train(plain)
    torch._dynamo.utils.counters.clear()
    train(replace(compiled, compiled=True))
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0
    for tag in ("train/loss", "validation/nll"):
        expected = logged(tmp_path / "plain", tag)
        assert logged(tmp_path / "compiled", tag) == pytest.approx(expected, rel=1e-4)
    saved, expected = weights(tmp_path / "compiled"), weights(tmp_path / "plain")
    torch.testing.assert_close(saved, expected, rtol=0, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_cuda_trains_as_the_cpu_does(data: Path, tmp_path: Path, dtype: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    how = {"dropout": 0.0, "evaluate_every": 6}
    train(quick_config(data, tmp_path / "cpu", **how))
    train(quick_config(data, tmp_path / "cuda", **how, device="cuda", dtype=dtype))
    near = {"float32": 1e-4, "bfloat16": 1e-2}[dtype]
    for tag in ("train/loss", "validation/nll"):
        expected = logged(tmp_path / "cpu", tag)
        assert logged(tmp_path / "cuda", tag) == pytest.approx(expected, rel=near)


def test_dropout_is_on(data: Path, tmp_path: Path) -> None:
    for name, dropout in (("without", 0.0), ("with", 0.6)):
        train(quick_config(data, tmp_path / name, steps=1, dropout=dropout))
    first, second = (logged(tmp_path / name, "train/loss")[1] for name in ("without", "with"))
    assert abs(first - second) > 0.01


def as_process(config: Any) -> None:
    """Trains as one of the processes that `torchrun` started."""
    torch.set_num_threads(1)
    train(config)


def test_two_processes_do_what_one_does(data: Path, tmp_path: Path) -> None:
    """Same losses, same evaluation and same weights; only one of them writes."""
    how = {"dropout": 0.0, "micro_batch_size": 2, "evaluate_every": 3}
    one, two = (quick_config(data, tmp_path / name, **how) for name in ("one", "two"))
    train(one)
    torchrun = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="forkserver",
    )
    elastic_launch(torchrun, as_process)(two)
    for tag in ("train/loss", "train/gradient_norm", "validation/nll"):
        expected = logged(tmp_path / "one", tag)
        assert len(expected) == (2 if tag == "validation/nll" else 6)
        assert logged(tmp_path / "two", tag) == pytest.approx(expected, rel=1e-4), tag
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-4)


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
    for name, value in weights(tmp_path / "first").items():
        assert trainer[name].equal(value)
    config = json.loads((find_model(tmp_path / "second") / "config.json").read_text())
    assert config["dropout_rate"] == 0.3
    larger = quick_config(data, tmp_path / "third", start_from=first, preset="small")
    with pytest.raises(ValueError, match=r"has another shape \(d_ff: 128 -> 1024; d_kv: 16 -> 64"):
        train(larger)


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


def test_a_run_goes_on_only_when_asked_and_as_it_was(data: Path, tmp_path: Path) -> None:
    train(quick_config(data, tmp_path, steps=1), resume=True)  # there is none yet
    with pytest.raises(ValueError, match="holds a run at step 1: pass --resume to continue"):
        train(quick_config(data, tmp_path, steps=2))
    with pytest.raises(ValueError, match=r"\(batch_size: 8 -> 4; seed: 0 -> 1\)"):
        train(quick_config(data, tmp_path, steps=2, batch_size=4, seed=1), resume=True)
    result = train(quick_config(data, tmp_path, steps=2, micro_batch_size=4), resume=True)
    assert result.step == 2
    assert train(quick_config(data, tmp_path, steps=2), resume=True).step == 2


def test_a_loss_that_is_not_finite_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))

    def poisoned(*args: Any, **how: Any) -> Any:
        loss, nll = token_losses(*args, **how)
        return loss * (float("nan") if next(calls) == 2 else 1.0), nll

    monkeypatch.setattr("singsong.training.train.token_losses", poisoned)
    with pytest.raises(TrainingError, match=r"the loss is nan .* at step 2"):
        train(quick_config(data, tmp_path, save_every=1))
    (_, last) = list_checkpoints(tmp_path)
    assert last.step == 2
    assert all(value.isfinite().all() for value in weights(tmp_path).values())


def test_ctrl_c_saves_and_stops(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    update = Trainer.update

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return update(self, batch)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        result = train(quick_config(data, tmp_path / "run"))
    assert (result.step, result.reason) == (3, "stopped")
    assert signal.getsignal(signal.SIGINT) is before
    assert train(quick_config(data, tmp_path / "run"), resume=True).step == 6
    train(quick_config(data, tmp_path / "whole"))
    for name, value in weights(tmp_path / "whole").items():
        assert weights(tmp_path / "run")[name].equal(value)


def test_what_a_stop_left_unmeasured_is_measured_when_the_run_goes_on(
    data: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    update = Trainer.update

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return update(self, batch)

    whole, run = (quick_config(data, tmp_path / name, evaluate_every=3) for name in ("a", "b"))
    train(whole)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        assert train(run).step == 3
    assert not logged(tmp_path / "b", "validation/nll")
    train(run, resume=True)
    expected = logged(tmp_path / "a", "validation/nll")
    assert list(expected) == [3, 6]
    assert logged(tmp_path / "b", "validation/nll") == expected


def test_the_second_ctrl_c_does_not_wait(data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    def twice(self: Trainer, batch: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "update", twice)
    # A shell that runs the tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(quick_config(data, tmp_path))
    finally:
        signal.signal(signal.SIGINT, before)


def test_bfloat16_trains_on_float32_weights(data: Path, tmp_path: Path) -> None:
    train(quick_config(data, tmp_path / "exact", dropout=0.0))
    train(quick_config(data, tmp_path / "rough", dropout=0.0, dtype="bfloat16"))
    first, second = (logged(tmp_path / name, "train/loss") for name in ("exact", "rough"))
    assert first != second
    assert second == pytest.approx(first, rel=0.02)
    assert all(value.dtype == torch.float32 for value in weights(tmp_path / "rough").values())


def test_what_tensorboard_reads(data: Path, tmp_path: Path) -> None:
    train(quick_config(data, tmp_path, steps=2))
    train(quick_config(data, tmp_path, steps=3), resume=True)
    found = events(tmp_path)
    assert found[0].file_version == "brain.Event:2"
    tags = {value.tag for event in found for value in event.summary.value}
    assert {f"train/{tag}" for tag in ("loss", "nll", "learning_rate", "samples_per_s")} <= tags
    starts = [event.step for event in found if event.session_log.status]
    assert starts == [1, 3]
    assert logged(tmp_path, "train/learning_rate")[3] == pytest.approx(0.01)
    with pytest.raises(OSError, match="exists"):
        ScalarWriter(Path(__file__), first_step=1)


def test_the_fine_model_is_measured_on_fine_codes(data: Path, tmp_path: Path) -> None:
    config = quick_config(
        data, tmp_path, kind="fine", crop_seconds=0.5, evaluate_every=6, relative_positions=False
    )
    result = train(config)
    assert result.best is not None
    model = FineModel.from_pretrained(result.best.model)
    assert not model.config.relative_positions
    assert result.best.metrics["nll"] < result.best.metrics["loss"]


def test_a_batch_that_processes_cannot_share_is_refused(data: Path, tmp_path: Path) -> None:
    processes = Processes(rank=0, count=3, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="multiple of the 3 processes, found 8"):
        Trainer(quick_config(data, tmp_path), processes, resume=False, extra_metrics={})


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


def test_a_dataset_without_clips_to_validate_on_is_told_before_training(tmp_path: Path) -> None:
    folder = write_trainable(tmp_path / "data")
    manifest = read_manifest(str(folder))
    shards = [shard for shard in manifest.shards if shard.split == "train"]
    recommitted(folder, shards=tuple(shards))
    with pytest.raises(DatasetError, match=r"split validation holds no records: .*evaluate_every"):
        train(quick_config(folder, tmp_path / "run", evaluate_every=1))


def test_a_checkpoint_calls_the_kind_of_model_its_stage(tmp_path: Path) -> None:
    """As the checkpoints of older versions do, which can be resumed."""
    for kind in ("accompaniment", "fine"):
        stored = quick_config(tmp_path, tmp_path / "run", kind=kind).to_json()
        assert (next(iter(stored)), stored["stage"]) == ("stage", kind)
        assert "kind" not in stored
