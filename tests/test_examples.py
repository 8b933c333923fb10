"""Every `>>>` example of the package runs, each module imported under its one name."""

from __future__ import annotations

import doctest
import importlib
import os
import re
from pathlib import Path

import pytest

import singsong
from benchmarks.support.command import ROOT
from tests.support.fakes import write_tones
from tests.test_rooms import FILES, MAY_IMPORT

MODULES = [
    "singsong",
    *(
        "singsong." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in FILES
        if path.name != "__init__.py"
    ),
]


def examples_of(module: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    return [one for one in found if one.examples]


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples call "music": two tracks, each longer than a clip."""
    folder = tmp_path_factory.mktemp("material") / "music"
    write_tones(folder, tracks=2, seconds=10.1)
    return folder


@pytest.fixture(scope="session")
def dataset(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What they call "dataset": clips of one second of that music, all for training."""
    from singsong.schemas.recipe import NO_FILTER, DatasetRecipe, EncodeRecipe

    folder = tmp_path_factory.mktemp("material") / "dataset"
    recipe = DatasetRecipe(
        encode=EncodeRecipe(clip_seconds=1.0),
        dataset_filter=NO_FILTER,
        splits=(("train", 1.0),),
    )
    singsong.prepare(music, output=folder, recipe=recipe)
    return folder


@pytest.fixture(scope="session")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What they call "run": a model that was trained on it for one step."""
    folder = tmp_path_factory.mktemp("material") / "run"
    config = singsong.TrainConfig(
        kind="accompaniment",
        preset="tiny",
        data=str(dataset),
        output=str(folder),
        steps=1,
        batch_size=2,
        evaluate_every=0,
        device="cpu",
    )
    singsong.train(config)
    return folder


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_run(
    module: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tests = examples_of(module)
    source = "".join(example.source for test in tests for example in test.examples)
    for material in ("music", "dataset", "run"):
        if f'"{material}"' in source:
            os.symlink(request.getfixturevalue(material), tmp_path / material)
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner()
    for test in tests:
        said: list[str] = []
        runner.run(test, out=said.append)
        assert not said, "".join(said)


def test_each_example_is_found() -> None:
    """A module whose examples the finder misses would pass without running them."""
    for module in MODULES[1:]:
        file = importlib.import_module(module).__file__
        assert file is not None
        written = len(re.findall(r"^\s*>>> ", Path(file).read_text(), re.MULTILINE))
        found = sum(len(test.examples) for test in examples_of(module))
        assert found == written, module


@pytest.mark.parametrize("room", ["schemas", "audio"])
def test_these_rooms_have_examples(room: str) -> None:
    assert room in MAY_IMPORT
    assert any(examples_of(module) for module in MODULES if module.startswith(f"singsong.{room}."))


@pytest.mark.parametrize("name", [name for name in singsong.__all__ if name[0] != "_"])
def test_each_public_name_has_an_example(name: str) -> None:
    examples = [example.source for test in examples_of("singsong") for example in test.examples]
    documented = getattr(getattr(singsong, name), "__doc__", None) or ""
    assert ">>> " in documented or any(f"singsong.{name}" in source for source in examples)
