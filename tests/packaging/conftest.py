"""The wheel, environments with it, and a folder whose own modules have the names of our rooms."""

from functools import partial
from pathlib import Path

import pytest

from tests.support.fakes import write_tones
from tests.support.installed import Environment, build_wheel
from tests.support.made_once import MadeOnce

_RAISES = "raise ImportError('this is the module of the user, and not of singsong')\n"


@pytest.fixture(scope="session")
def wheel(made_once: MadeOnce) -> Path:
    (built,) = made_once.folder("wheel", build_wheel).glob("*.whl")
    return built


@pytest.fixture(scope="session")
def everything(made_once: MadeOnce, wheel: Path) -> Environment:
    create = partial(Environment.create, wheel=wheel, extras=None)
    return Environment(made_once.folder("env-all", create))


@pytest.fixture(scope="session")
def project(made_once: MadeOnce, everything: Environment) -> Path:
    """A user's project with modules named as our rooms, some music, and a dataset made of it."""

    def make(folder: Path) -> None:
        for package in ("training", "models"):
            (folder / package).mkdir(parents=True)
            (folder / package / "__init__.py").write_text(_RAISES)
        for module in ("schemas", "audio"):
            (folder / f"{module}.py").write_text(_RAISES)
        write_tones(folder / "music", tracks=2, seconds=3.0)
        flags = ["--clip-seconds", "1", "--no-filter", "--splits", "train=1"]
        command = ["-m", "singsong", "prepare", "music", "--output", "dataset", *flags]
        everything.run(*command, cwd=folder)

    return made_once.folder("project", make)
