"""Checkpoints: whole or not there, the best and the last, and back as they were."""

import math
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from singsong.training.accompaniment_model import AccompanimentModel
from singsong.training.checkpoints import (
    CHECKPOINTS_FOLDER,
    best_checkpoint,
    clean_up,
    find_model,
    keep_only,
    list_checkpoints,
    restore_optimizer,
    save_checkpoint,
)
from singsong.training.optimizer import t5x_adafactor
from tests.support.child_processes import OWNERS, save, save_until_killed, step
from tests.support.trained import small_accompaniment


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = small_accompaniment()
    optimizer = t5x_adafactor(model.parameters())
    step(model, optimizer)
    return model, optimizer


def test_what_is_read_is_what_was_saved(tmp_path: Path, trained: tuple[Any, Any]) -> None:
    model, optimizer = trained
    save(tmp_path, model, optimizer, at=3, nll=1.5)
    (checkpoint,) = list_checkpoints(tmp_path)
    assert (checkpoint.step, checkpoint.loader, checkpoint.metrics, checkpoint.config) == (
        3,
        {"samples": 24},
        {"nll": 1.5},
        {"seed": 0},
    )
    opened = AccompanimentModel.from_pretrained(checkpoint.model)
    other = t5x_adafactor(opened.parameters())
    restore_optimizer(checkpoint, model=opened, optimizer=other)
    step(opened, other)
    expected, expected_optimizer = AccompanimentModel.from_pretrained(checkpoint.model), None
    expected_optimizer = t5x_adafactor(expected.parameters())
    expected_optimizer.load_state_dict(optimizer.state_dict())
    step(expected, expected_optimizer)
    assert other.state_dict()["state"][0]["step"] == 2
    for name, value in expected.state_dict().items():
        assert opened.state_dict()[name].equal(value), name


def test_an_optimiser_of_other_parameters_is_refused(
    tmp_path: Path, trained: tuple[Any, Any]
) -> None:
    save(tmp_path, *trained, at=3)
    (checkpoint,) = list_checkpoints(tmp_path)
    other = small_accompaniment(num_layers=1)
    with pytest.raises(ValueError, match=r"belongs to another model: decoder\.block\.1"):
        restore_optimizer(checkpoint, model=other, optimizer=t5x_adafactor(other.parameters()))


def test_the_best_and_the_last_ones_stay(tmp_path: Path, trained: tuple[Any, Any]) -> None:
    for at, nll in enumerate([3.0, 1.0, 2.0, 1.0, 4.0]):
        save(tmp_path, *trained, at=at, nll=nll)
    save(tmp_path, *trained, at=5)
    keep_only(tmp_path, last=2, metric="nll")
    left = list_checkpoints(tmp_path)
    assert [checkpoint.step for checkpoint in left] == [1, 4, 5]
    best = best_checkpoint(left, "nll")
    assert best is not None
    assert best.step == 1
    assert best_checkpoint(left, "fad") is None
    assert sorted(path.name for path in (tmp_path / CHECKPOINTS_FOLDER).iterdir()) == [
        f"step-0000000{at}" for at in (1, 4, 5)
    ]


def test_saving_a_step_again_replaces_it(tmp_path: Path, trained: tuple[Any, Any]) -> None:
    save(tmp_path, *trained, at=1, nll=3.0)
    save(tmp_path, *trained, at=1, nll=2.0)
    assert [checkpoint.metrics for checkpoint in list_checkpoints(tmp_path)] == [{"nll": 2.0}]


def test_a_full_disk_leaves_what_was_there(
    tmp_path: Path, trained: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, *trained, at=1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("singsong.training.checkpoints.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save(tmp_path, *trained, at=2)
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [1]
    clean_up(tmp_path)
    assert [path.name for path in (tmp_path / CHECKPOINTS_FOLDER).iterdir()] == ["step-00000001"]


@pytest.mark.parametrize("where", OWNERS)
def test_killed_while_it_saves_every_checkpoint_is_whole(tmp_path: Path, where: str) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["singsong.training.train"])
    process = context.Process(target=save_until_killed, args=(tmp_path, where))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    checkpoints = list_checkpoints(tmp_path)
    expected = {"the end": [1, 2, 3], "removing": [2, 3]}.get(where, [1, 2])
    assert [checkpoint.step for checkpoint in checkpoints] == expected
    model = AccompanimentModel.from_pretrained(checkpoints[-1].model)
    optimizer = t5x_adafactor(model.parameters())
    restore_optimizer(checkpoints[-1], model=model, optimizer=optimizer)
    assert optimizer.state_dict()["state"][0]["step"] == checkpoints[-1].step
    folder = tmp_path / CHECKPOINTS_FOLDER
    left_behind = len(list(folder.iterdir())) - len(checkpoints)
    assert left_behind == (where != "the end")
    clean_up(tmp_path)
    assert len(list(folder.iterdir())) == len(checkpoints)


def test_a_model_is_found_in_a_run_a_checkpoint_and_a_folder(
    tmp_path: Path, trained: tuple[Any, Any]
) -> None:
    with pytest.raises(ValueError, match="is not a model, a checkpoint or a run"):
        find_model(tmp_path)
    save(tmp_path, *trained, at=1)
    save(tmp_path, *trained, at=2)
    first, last = list_checkpoints(tmp_path)
    assert find_model(tmp_path) == last.model
    assert find_model(first.folder) == first.model == find_model(first.model)
    save(tmp_path, *trained, at=1, nll=2.0)
    assert find_model(tmp_path) == first.model
    save(tmp_path, *trained, at=2, nll=math.nan)
    assert find_model(tmp_path) == first.model
    save(tmp_path, *trained, at=1, nll=2.0, fad=5.0)
    save(tmp_path, *trained, at=2, nll=3.0, fad=4.0)
    assert find_model(tmp_path) == first.model
    config = {"best_metric": "fad"}
    state = {"loader": {}, "metrics": {"nll": 4.0, "fad": 6.0}, "config": config}
    model, optimizer = trained
    save_checkpoint(tmp_path, model=model, optimizer=optimizer, step=3, **state)
    assert find_model(tmp_path) == last.model


@pytest.mark.parametrize("content", ["", '{"step": 1}', "[]"])
def test_a_broken_state_is_told(tmp_path: Path, trained: tuple[Any, Any], content: str) -> None:
    save(tmp_path, *trained, at=1)
    (checkpoint,) = list_checkpoints(tmp_path)
    (checkpoint.folder / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json is broken .*: remove .*step-00000001"):
        list_checkpoints(tmp_path)


def test_a_broken_optimiser_is_told(tmp_path: Path, trained: tuple[Any, Any]) -> None:
    save(tmp_path, *trained, at=1)
    (checkpoint,) = list_checkpoints(tmp_path)
    path = checkpoint.folder / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    model, optimizer = trained
    with pytest.raises(ValueError, match=r"optimizer\.safetensors"):
        restore_optimizer(checkpoint, model=model, optimizer=optimizer)
