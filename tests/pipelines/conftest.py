"""Runs jobs through the command line with small models."""

from collections.abc import Callable
from pathlib import Path

import pytest

import pipelines.prepare
import transforms.encode_track
from pipelines import cli
from tests.fakes import fake_models

Prepare = Callable[..., int]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts small models in the place of those a recipe names."""
    load = lambda recipe: fake_models(separated=recipe.separator is not None)  # noqa: E731
    monkeypatch.setattr(pipelines.prepare, "load_models", load)
    monkeypatch.setattr(transforms.encode_track, "load_models", load)


@pytest.fixture
def prepare(fakes: None, tmp_path: Path) -> Prepare:
    """Returns `singsong prepare`, with clips of one second and one worker."""

    def run(*inputs: object, output: object = None, flags: tuple = ()) -> int:
        arguments = ["prepare", *map(str, inputs), "--output", str(output or tmp_path / "dataset")]
        return cli.main([*arguments, "--clip-seconds", "1", "--mode", "in_memory", *flags])

    return run
