"""The wheel, environments with it, and a folder whose own modules have the names of our rooms."""

from pathlib import Path

import pytest

from tests.support.fakes import write_tones
from tests.support.installed import Environment, build_wheel

_RAISES = "raise ImportError('this is the module of the user, and not of singsong')\n"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment(tmp_path_factory.mktemp("env") / "all", wheel, extras=None)


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, everything: Environment) -> Path:
    """A user's project with modules named as our rooms, some music, and a dataset made of it."""
    folder = tmp_path_factory.mktemp("project")
    for package in ("training", "models"):
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(_RAISES)
    for module in ("schemas", "audio"):
        (folder / f"{module}.py").write_text(_RAISES)
    write_tones(folder / "music", tracks=2, seconds=3.0)
    flags = ["--clip-seconds", "1", "--no-filter", "--splits", "train=1"]
    everything.run(
        *("-m", "singsong", "prepare", "music", "--output", "dataset", *flags), cwd=folder
    )
    return folder
