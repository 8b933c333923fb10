"""What is in the wheel, and that it works in a project with modules of the same names."""

import re
import zipfile
from pathlib import Path

import pytest

from benchmarks.support.command import ROOT
from tests.support.installed import Environment

pytestmark = pytest.mark.slow  # builds a wheel and environments

LOADER = """
import sys
from torch.utils.data import DataLoader
import singsong

if __name__ == "__main__":
    data = singsong.ShardDataset(
        "dataset", singsong.Featurization(), singsong.LoaderConfig(batch_size=2, epochs=1)
    )
    loader = DataLoader(data, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    rows = sorted(int(row) for batch in loader for row in batch["row"])
    assert rows == list(range(data.records)), rows
    print(len(rows), "rows")
"""


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top.partition("-")[0] for top in tops} == {"singsong"}
    assert len(tops) == 2
    assert not [name for name in names if re.match(r"singsong/(tests|benchmarks|docs)/", name)]
    assert "singsong/setup.py" not in names
    for file in ("__init__.py", "__main__.py", "py.typed", "models/lite/acoustic-2.safetensors"):
        assert f"singsong/{file}" in names
    assert "singsong/models/lite/acoustic-1.safetensors" in names
    assert "singsong/models/lite/semantic-1.safetensors" in names


def test_every_module_of_the_rooms_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    rooms = [init.parent for init in ROOT.glob("*/__init__.py")]
    inside = [room for room in rooms if room.name not in ("tests", "benchmarks")]
    for path in (path for room in inside for path in room.rglob("*.py")):
        assert f"singsong/{path.relative_to(ROOT).as_posix()}" in names


def test_importing_it_beside_modules_of_the_same_names(
    everything: Environment, project: Path
) -> None:
    code = "import singsong; print(singsong.__version__, singsong.__file__)"
    printed = everything.run("-c", code, cwd=project)
    assert re.match(r"\d+\.\d+", printed)
    assert str(everything.site) in printed


def test_the_python_of_readme_runs(everything: Environment, project: Path) -> None:
    first = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first is not None
    code = first[1].replace('"demo/dataset"', '"dataset"')
    assert code != first[1], "README reads what `make demo` makes"
    assert everything.run("-c", code, cwd=project)


def test_a_loader_with_worker_processes(everything: Environment, project: Path) -> None:
    (project / "loader.py").write_text(LOADER)
    assert "6 rows" in everything.run("loader.py", cwd=project)


def test_the_command_and_the_module_are_the_same(everything: Environment, project: Path) -> None:
    show = ["dataset", "show", "dataset"]
    command = everything.python.with_name("singsong")
    assert everything.run(str(command), *show, cwd=project) == everything.run(
        "-m", "singsong", *show, cwd=project
    )
