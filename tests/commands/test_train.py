"""`singsong train`: exit codes, and one sentence for whatever goes wrong."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.support.training_log import logged
from singsong.commands import cli
from singsong.training.checkpoints import find_model, list_checkpoints
from singsong.training.train import Trainer, TrainingError
from singsong.training.train_config import TrainConfig
from tests.support.trained import write_trainable

QUICK = ["--preset", "tiny", "--batch-size", "4", "--device", "cpu", "--log-every", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trainable(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def train(stage: str, data: Path, run: Path, *flags: str) -> int:
    arguments = ["train", stage, "--data", str(data), "--output", str(run), *QUICK]
    return cli.main([*arguments, *flags])


def test_both_models_are_trained_and_evaluated(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--steps", "3", "--evaluate-every", "2"]
    assert train("accompaniment", data, tmp_path / "a", *flags, "--featurization", "A-A") == 0
    assert train("fine", data, tmp_path / "f", *flags, "--crop-seconds", "0.5") == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'a'} is at step 3." in printed
    assert "Best nll: " in printed
    assert set(logged(tmp_path / "a", "validation/nll")) == {2, 3}
    assert find_model(tmp_path / "f").is_dir()


def test_stopped_it_exits_with_130_and_says_how_to_go_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    update = Trainer.update

    def interrupted(self: Trainer, batch: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return update(self, batch)

    flags = ["--steps", "2", "--evaluate-every", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        assert train("accompaniment", data, tmp_path, *flags) == 130
    assert "the same command with --resume continues" in capsys.readouterr().out
    assert train("accompaniment", data, tmp_path, *flags) == 1
    assert "pass --resume to continue it" in capsys.readouterr().err
    assert train("accompaniment", data, tmp_path, *flags, "--resume") == 0
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [1, 2]


def test_patience_that_ran_out_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(Trainer, "evaluate", lambda _: {"nll": 1.0})
    flags = ["--steps", "9", "--evaluate-every", "1", "--patience", "2"]
    assert train("accompaniment", data, tmp_path, *flags) == 0
    printed = capsys.readouterr().out
    assert "is at step 3." in printed
    assert "Ended early: no improvement in 2 evaluations." in printed


def test_a_failure_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    assert train("accompaniment", tmp_path / "nowhere", tmp_path / "run") == 1
    assert "does not exist: no dataset" in capsys.readouterr().err

    def fail(self: Trainer, batch: Any) -> Any:
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(Trainer, "update", fail)
    assert train("accompaniment", data, tmp_path / "run") == 1
    assert capsys.readouterr().err.endswith("singsong train: the loss is nan\n")


def test_flags_are_strict_and_have_the_defaults_of_the_config(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    seen = []
    monkeypatch.setattr(
        "singsong.commands.train.train", lambda config, *, resume: seen.append(config) or 0
    )
    places = ["--data", str(data), "--output", str(tmp_path)]
    for kind in ("accompaniment", "fine"):
        assert cli.main(["train", kind, *places]) == 0
        assert seen.pop() == TrainConfig(kind=kind, data=str(data), output=str(tmp_path))
    flags = ["--clean", "--relative-positions", "--compile", "--gradient-checkpointing"]
    cli.main(["train", "accompaniment", *places, *flags])
    (config,) = seen
    assert not config.noisy
    assert config.relative_positions
    assert config.compiled
    assert config.gradient_checkpointing
    for arguments in (["coarse"], ["fine", "--data", "d"], ["fine", "--clean"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["train", *arguments])
        assert stopped.value.code == 2
    capsys.readouterr()
