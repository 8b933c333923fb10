"""The plug-in of the examples, installed as its users would, and used by the built wheel."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from benchmarks.support.command import ROOT
from tests.support.fakes import write_tones
from tests.support.installed import Environment

pytestmark = pytest.mark.slow  # builds a wheel and an environment

SOURCE = ROOT / "examples" / "roformer_plugin"
LIBRARY = "melband-roformer-infer==0.1.5"

MODEL = """
from pathlib import Path
import test_singsong_roformer as published
published.save(Path("weights.ckpt"), {"state_dict": published.build().state_dict()})
text = Path("weights.yaml").read_text()
Path("eleven_seconds.yaml").write_text(text.replace(str(published.CHUNK), "485100"))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory, give_up: Callable[[str], NoReturn]) -> Path:
    """The source of the plug-in, copied so that nothing is built beside it."""
    folder = tmp_path_factory.mktemp("plugin")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", LIBRARY]
    asked = subprocess.run(
        [*command, "--dest", str(folder / "wheels")], check=False, capture_output=True, text=True
    )
    if asked.returncode:
        give_up(f"the plug-in needs {LIBRARY} from a package index: {asked.stderr[-300:]}")
    return Path(shutil.copytree(SOURCE, folder / "roformer_plugin"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path, plugin: Path) -> Environment:
    """All that is installed here, the wheel and the plug-in."""
    made = Environment.create(tmp_path_factory.mktemp("env") / "plugin", wheel, extras=None)
    made.install(plugin)
    return made


def test_the_library_is_the_one_that_the_plugin_names() -> None:
    assert f'"{LIBRARY}"' in (SOURCE / "pyproject.toml").read_text()


def test_the_plugin_passes_its_own_tests(environment: Environment, plugin: Path) -> None:
    code = "import mel_band_roformer, singsong, singsong_roformer as p; print(p.__file__)"
    assert str(environment.site) in environment.run("-c", code, cwd=plugin.parent)
    flags = ["-p", "no:cacheprovider", "--import-mode=importlib", "--doctest-modules"]
    printed = environment.run("-m", "pytest", "-q", *flags, str(plugin), cwd=plugin.parent)
    assert " passed" in printed
    assert "skipped" not in printed


def test_prepare_separates_with_the_plugin(
    environment: Environment, plugin: Path, tmp_path: Path
) -> None:
    """Clips of 10 s, each in one forward of 11 s, by a small network with random weights."""
    environment.run("-c", f"import sys; sys.path.insert(0, {str(plugin)!r})\n{MODEL}", cwd=tmp_path)
    write_tones(tmp_path / "music", tracks=1, seconds=21.0)
    flags = ["--output", "dataset", "--no-filter", "--splits", "train=1", "--no-separation-check"]
    spec = "melband-roformer:weights.ckpt,config=eleven_seconds.yaml"
    environment.run(
        *("-m", "singsong", "prepare", "music", *flags, "--separator", spec), cwd=tmp_path
    )
    code = f"""if True:
        import json
        import singsong
        dataset = singsong.open_dataset("dataset")
        print(len(list(dataset.clips("train"))))
        model = singsong.load_model("separator", {spec!r})
        print(type(model).__module__, model.weights_sha256 in open("dataset/manifest.json").read())
    """
    printed = environment.run("-c", code, cwd=tmp_path)
    assert "2\nsingsong_roformer True\n" in printed
    environment.run("-m", "singsong", "dataset", "verify", "dataset", cwd=tmp_path)
