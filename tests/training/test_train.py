"""The loop: it learns, and the same over micro-batches, processes, devices and types."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks.support.training_log import events, logged
from singsong.training.event_file import ScalarWriter
from singsong.training.train import train
from tests.support.child_processes import train_as_process
from tests.support.trained import VOCABULARY, quick_config, saved_weights


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
    saved, expected = saved_weights(tmp_path / "compiled"), saved_weights(tmp_path / "plain")
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
    elastic_launch(torchrun, train_as_process)(two)
    for tag in ("train/loss", "train/gradient_norm", "validation/nll"):
        expected = logged(tmp_path / "one", tag)
        assert len(expected) == (2 if tag == "validation/nll" else 6)
        assert logged(tmp_path / "two", tag) == pytest.approx(expected, rel=1e-4), tag
    assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1
    first, second = saved_weights(tmp_path / "one"), saved_weights(tmp_path / "two")
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-4)


def test_bfloat16_trains_on_float32_weights(data: Path, tmp_path: Path) -> None:
    train(quick_config(data, tmp_path / "exact", dropout=0.0))
    train(quick_config(data, tmp_path / "rough", dropout=0.0, dtype="bfloat16"))
    first, second = (logged(tmp_path / name, "train/loss") for name in ("exact", "rough"))
    assert first != second
    assert second == pytest.approx(first, rel=0.02)
    assert all(value.dtype == torch.float32 for value in saved_weights(tmp_path / "rough").values())


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
