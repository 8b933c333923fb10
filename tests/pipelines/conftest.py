"""Runs jobs through the command line with small models."""

from collections.abc import Callable
from pathlib import Path

import pytest

import singsong.models.bundle
import singsong.transforms.encode_tracks
from singsong.commands import cli
from singsong.models.bundle import Models
from tests.support.fakes import fake_models

Prepare = Callable[..., int]


def use_fakes(patch: pytest.MonkeyPatch) -> Models:
    """Puts small models in the place of those a recipe names, and returns them."""
    models, mix_models = fake_models(), fake_models(separated=False)
    load = lambda recipe: models if recipe.separator is not None else mix_models  # noqa: E731
    patch.setattr(singsong.models.bundle, "load_models", load)
    patch.setattr(singsong.transforms.encode_tracks, "load_models", load)
    return models


def arguments(*inputs: object, output: object) -> list[str]:
    """Returns the command line of `singsong prepare`, with clips of one second and one worker.

    Without the check of the separation, which the fake separator does not pass.
    """
    given = [*map(str, inputs), "--output", str(output)]
    flags = ["--clip-seconds", "1", "--mode", "in_memory", "--no-separation-check"]
    return ["prepare", *given, *flags]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fakes(monkeypatch)


@pytest.fixture
def prepare(fakes: None, tmp_path: Path) -> Prepare:
    """Returns `singsong prepare`, as `arguments` calls it."""

    def run(*inputs: object, output: object = None, flags: tuple = ()) -> int:
        return cli.main([*arguments(*inputs, output=output or tmp_path / "dataset"), *flags])

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Returns where `prepare` writes to."""
    return tmp_path / "dataset"
