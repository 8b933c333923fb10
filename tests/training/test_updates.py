"""One update against its formula: dropout, losses, gradients, and the weights that come out."""

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.support.training_log import logged
from singsong.training.accompaniment_model import target_logits
from singsong.training.checkpoints import list_checkpoints
from singsong.training.processes import Processes
from singsong.training.train import Trainer, train
from tests.support.keyed_random import keyed
from tests.support.plain_adafactor import PlainAdafactor
from tests.support.trained import quick_config
from tests.support.trainers import codes_of, first_batches, records_of, trainer_of

CPU = torch.device("cpu")


def losses_by_hand(
    model: Any, batch: Any, *, z_loss: float, dropout_seed: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the mean loss and the mean cross-entropy, from the formulas of t5x."""
    was_training = model.training
    model.train(dropout_seed is not None)
    if dropout_seed is not None:
        torch.manual_seed(dropout_seed)
    logits = target_logits(model, batch["input_tokens"], batch["target_tokens"])
    model.train(was_training)
    log_z = torch.log(torch.exp(logits).sum(-1))
    nll = log_z - logits.gather(-1, batch["target_tokens"][..., None])[..., 0]
    return (nll + z_loss * log_z**2).mean(), nll.mean()


def gradient_norm(loss: torch.Tensor, model: Any) -> float:
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))


def dropout_seed(seed: int, *, step: int, rank: int) -> int:
    return int(keyed(seed, "dropout", f"step {step} process {rank}").integers(2**63))


@pytest.mark.parametrize("seed", [0, 3])
def test_what_is_dropped_follows_from_seed_step_and_process(
    data: Path, tmp_path: Path, seed: int
) -> None:
    config = quick_config(data, tmp_path, seed=seed, dropout=0.3)
    found = []
    with trainer_of(config) as trainer:
        (batch,) = first_batches(trainer.data, 1)
        start = copy.deepcopy(trainer.model.state_dict())
        for step, rank in ((0, 0), (1, 0), (7, 0), (0, 1), (7, 1)):
            trainer.model.load_state_dict(start)
            trainer.step = step
            trainer.processes = Processes(rank=rank, count=1, device=CPU)
            model = copy.deepcopy(trainer.model)
            expected, _ = losses_by_hand(
                model,
                batch,
                z_loss=config.z_loss,
                dropout_seed=dropout_seed(seed, step=step, rank=rank),
            )
            found.append(trainer.update(batch)["loss"])
            assert found[-1] == pytest.approx(expected.item(), rel=1e-6), (step, rank)
    assert len({round(loss, 4) for loss in found}) == 5


@pytest.mark.parametrize("z_loss", [0.0, 0.5])
@pytest.mark.parametrize("micro_batch_size", [8, 3])
def test_loss_and_gradient_are_those_of_the_formula(
    data: Path, tmp_path: Path, z_loss: float, micro_batch_size: int
) -> None:
    """The mean over all tokens of the batch, whatever its pieces; z-loss is part of both."""
    config = quick_config(
        data, tmp_path, dropout=0.0, z_loss=z_loss, micro_batch_size=micro_batch_size
    )
    with trainer_of(config) as trainer:
        (batch,) = first_batches(trainer.data, 1)
        loss, nll = losses_by_hand(trainer.model, batch, z_loss=z_loss)
        norm = gradient_norm(loss, trainer.model)
        values = trainer.update(batch)
    assert values["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert values["nll"] == pytest.approx(nll.item(), rel=1e-5)
    assert values["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert ((loss - nll).item() > 0.1) == (z_loss > 0)


def test_the_part_of_one_of_two_processes(data: Path, tmp_path: Path) -> None:
    """Its gradient is twice its part of the mean, since replicas average their gradients."""
    config = quick_config(data, tmp_path, dropout=0.0, batch_size=8)
    with trainer_of(config) as trainer:
        (batch,) = first_batches(trainer.data, 1)
        half = {name: value[:4] for name, value in batch.items()}
        loss, _ = losses_by_hand(trainer.model, half, z_loss=config.z_loss)
        norm = gradient_norm(loss, trainer.model)
        trainer.processes = _OneOfTwo(rank=0, count=2, device=CPU)
        values = trainer.update(half)
    assert values["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert values["gradient_norm"] == pytest.approx(norm, rel=1e-4)


class _OneOfTwo(Processes):
    """Pretends that the other process found the same."""

    def summed(self, values: Any) -> list[float]:
        return [2 * value for value in values]


@pytest.mark.parametrize("warmup_steps", [1, 3, 1000])
def test_weights_move_as_t5x_would_move_them(data: Path, tmp_path: Path, warmup_steps: int) -> None:
    """The rate of the update after `step` others is 1 / sqrt(max(step, warm-up))."""
    config = quick_config(data, tmp_path, dropout=0.0, warmup_steps=warmup_steps)
    with trainer_of(config) as trainer:
        parameters = dict(trainer.model.named_parameters())
        plain = {
            name: PlainAdafactor(value.detach().numpy(), warmup_steps=warmup_steps)
            for name, value in parameters.items()
        }
        for step, batch in enumerate(first_batches(trainer.data, 5)):
            values = trainer.update(batch)
            expected = 1 / math.sqrt(max(step, warmup_steps))
            assert values["learning_rate"] == pytest.approx(expected, rel=1e-9)
            for name, parameter in parameters.items():
                assert parameter.grad is not None
                plain[name].update(parameter.grad.numpy())
                plain_value = plain[name].value
                scale = np.abs(plain_value).max()
                np.testing.assert_allclose(
                    parameter.detach().numpy(), plain_value, rtol=0, atol=2e-5 * scale, err_msg=name
                )
    assert trainer.step == 5


def test_a_resumed_run_takes_its_rate_from_all_its_steps(data: Path, tmp_path: Path) -> None:
    config = quick_config(data, tmp_path, warmup_steps=1, steps=3)
    train(config)
    train(replace(config, steps=5), resume=True)
    rates = logged(tmp_path, "train/learning_rate")
    assert rates == {
        1: pytest.approx(1.0),
        2: pytest.approx(1.0),
        3: pytest.approx(2**-0.5),
        4: pytest.approx(3**-0.5),
        5: pytest.approx(0.5),
    }


def test_a_resumed_run_goes_on_with_the_next_record(data: Path, tmp_path: Path) -> None:
    config = quick_config(data, tmp_path / "run", steps=3)
    with trainer_of(quick_config(data, tmp_path / "whole", steps=3)) as trainer:
        expected = [batch["row"].tolist() for batch in first_batches(trainer.data, 5)]
    train(config)
    with trainer_of(replace(config, steps=5), resume=True) as trainer:
        found = [batch["row"].tolist() for batch in first_batches(trainer.data, 2)]
        assert trainer.step == 3
    assert found == expected[3:]
    assert expected[0] != expected[3]


def test_an_evaluation_has_the_z_loss_of_the_run_and_no_dropout(data: Path, tmp_path: Path) -> None:
    config = quick_config(data, tmp_path, dropout=0.5, z_loss=0.5, evaluate_every=1)
    with trainer_of(config) as trainer:
        assert trainer.validation is not None
        batches = list(trainer.validation)
        joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
        loss, _ = losses_by_hand(copy.deepcopy(trainer.model), joined, z_loss=0.5)
        metrics = trainer.evaluate()
        assert trainer.model.training
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    held_out = records_of(data, "validation")
    assert joined["row"].tolist() == list(range(len(held_out)))
    codes = codes_of(held_out, "vocals_noisy_semantic", joined["row"], (5,))
    np.testing.assert_array_equal(joined["input_tokens"].numpy(), codes + 2)
    assert len({len(batch["row"]) for batch in batches}) == 2, "a mean of means would be the same"


def test_patience_counts_evaluations_and_not_steps(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of 2.0, 1.0, 3.0, 4.0, 5.0, each two steps apart, was measured at step 4."""
    values = iter([2.0, 1.0, 3.0, 4.0, 5.0])
    monkeypatch.setattr(Trainer, "evaluate", lambda _self: {"loss": 0.0, "nll": next(values)})
    result = train(quick_config(data, tmp_path, steps=20, evaluate_every=2, patience=2))
    assert (result.step, result.reason) == (8, "patience")
    assert result.best is not None
    assert (result.best.step, result.best.metrics["nll"]) == (4, 1.0)
    assert [checkpoint.step for checkpoint in list_checkpoints(tmp_path)] == [4, 6, 8]
