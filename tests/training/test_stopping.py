"""How a run ends early: Ctrl-C, and a loss that is not finite."""

import signal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support.training_log import logged
from singsong.training.checkpoints import list_checkpoints
from singsong.training.losses import token_losses
from singsong.training.train import Trainer, TrainingError, train
from tests.support.trained import quick_config, saved_weights


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
    for name, value in saved_weights(tmp_path / "whole").items():
        assert saved_weights(tmp_path / "run")[name].equal(value)


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
    assert all(value.isfinite().all() for value in saved_weights(tmp_path).values())
