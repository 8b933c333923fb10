"""Devices are checked without a side effect; numerics are set by those who run models."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from singsong.generation.accompanist import Accompanist
from singsong.models.bundle import load_models
from singsong.schemas.recipe import EncodeRecipe
from singsong.training.train import train
from tests.support.accompanying import save_accompaniment
from tests.support.trained import quick_config, write_trainable

SWITCHES = {
    "torch.backends.cudnn.allow_tf32": False,
    "torch.backends.cuda.matmul.allow_tf32": False,
    "torch.backends.cudnn.deterministic": True,
    "torch.backends.cudnn.benchmark": False,
    "torch.backends.mha.get_fastpath_enabled()": False,
}


def numerics() -> dict[str, bool]:
    return {switch: eval(switch) for switch in SWITCHES}


@pytest.fixture
def other_numerics() -> Iterator[None]:
    """Has every switch in the other position."""
    before = numerics()
    switch_to({switch: not value for switch, value in SWITCHES.items()})
    yield
    switch_to(before)


def switch_to(values: dict[str, bool]) -> None:
    torch.backends.mha.set_fastpath_enabled(values["torch.backends.mha.get_fastpath_enabled()"])
    torch.backends.cuda.matmul.allow_tf32 = values["torch.backends.cuda.matmul.allow_tf32"]
    for name in ("allow_tf32", "deterministic", "benchmark"):
        setattr(torch.backends.cudnn, name, values[f"torch.backends.cudnn.{name}"])


@pytest.mark.usefixtures("other_numerics")
def test_the_models_of_a_recipe_are_loaded_with_the_numerics_set() -> None:
    load_models(EncodeRecipe())
    assert numerics() == SWITCHES


@pytest.mark.usefixtures("other_numerics")
def test_an_accompanist_is_loaded_with_the_numerics_set(tmp_path: Path) -> None:
    Accompanist.load(save_accompaniment(tmp_path))
    assert numerics() == SWITCHES


@pytest.mark.usefixtures("other_numerics")
def test_a_run_trains_with_the_numerics_set(tmp_path: Path) -> None:
    train(quick_config(write_trainable(tmp_path / "data"), tmp_path / "run", steps=1))
    assert numerics() == SWITCHES


def test_checking_a_device_and_importing_demucs_change_no_numerics(tmp_path: Path) -> None:
    code = f"""if True:
        import torch
        from singsong.models.devices import checked_device
        def found():
            return [eval(switch) for switch in {list(SWITCHES)!r}]
        before = found()
        checked_device("cpu")
        import singsong.models.htdemucs
        print(found() == before != {list(SWITCHES.values())!r})
    """
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == "True\n"
