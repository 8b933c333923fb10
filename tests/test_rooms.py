"""The rooms of the house, and who may import whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.support.command import ROOT

# In their order: a room imports only rooms above it, and of those only the ones listed.
MAY_IMPORT = {
    "schemas": set(),
    "storage": {"schemas"},
    "audio": {"schemas", "storage"},
    "synth": {"schemas", "storage", "audio"},
    "models": {"schemas", "storage", "audio"},
    "dataset": {"schemas", "storage", "audio"},
    "training": {"schemas", "storage", "audio", "models", "dataset"},
    "generation": {"schemas", "storage", "audio", "models", "dataset", "training"},
    "evaluation": {
        *("schemas", "storage", "audio", "synth", "models", "dataset", "training", "generation"),
    },
}
WITH_BEAM = ("transforms", "runners", "pipelines", "commands")
for _room in WITH_BEAM:
    MAY_IMPORT[_room] = {*MAY_IMPORT}
FILES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]
# A package that gathers the names of its files, and holds no code of its own.
GATHERING = ("storage/__init__.py",)


def room_of(module: str) -> str | None:
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "singsong" else None


def imported_modules(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return modules


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    modules = imported_modules(path)
    ours = {room_of(module) for module in modules} - {None, room}
    assert ours <= MAY_IMPORT[room], f"{path} may not import from {ours - MAY_IMPORT[room]}"
    if room not in WITH_BEAM:
        assert not [module for module in modules if module.startswith("apache_beam")]


def test_every_folder_of_code_is_a_room() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} == {*MAY_IMPORT}


def test_no_module_imports_ours_by_another_name() -> None:
    """With the repository on `sys.path`, `schemas` can be imported too: as a second module."""
    for path in [*FILES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        wrong = {module for module in imported_modules(path) if module.split(".")[0] in MAY_IMPORT}
        assert not wrong, f"{path} imports {wrong} without `singsong.`"


def test_benchmarks_import_no_tests() -> None:
    """What both need lives in `benchmarks/support/`."""
    paths = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert paths
    for path in paths:
        wrong = {module for module in imported_modules(path) if module.split(".")[0] == "tests"}
        assert not wrong, f"{path} imports {wrong}"


def test_no_room_hides_a_library() -> None:
    """Whoever has the repository on `sys.path` still imports the library of that name."""
    code = f"""if True:
        import sys
        from importlib.util import find_spec
        sys.path[:] = [path for path in sys.path if path not in ("", {str(ROOT)!r})]
        sys.meta_path[:] = [one for one in sys.meta_path if "editable" not in repr(one).lower()]
        print([room for room in {[*MAY_IMPORT]!r} if find_spec(room)])
    """
    found = subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={},
    )
    assert found.stdout.strip() == "[]"


def test_inits_hold_a_docstring_and_nothing_else() -> None:
    inits = [path for path in FILES if path.name == "__init__.py"]
    assert inits
    for path in inits:
        if path.relative_to(ROOT).as_posix() in GATHERING:
            continue
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_no_element_or_dofn_is_defined_in_a_job() -> None:
    for path in [*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "commands").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                assert not bases & {"beam.DoFn", "beam.PTransform", "beam.coders.Coder"}, path


def test_no_environment_variable_is_read_outside_the_runners() -> None:
    for path in FILES:
        if path.relative_to(ROOT).parts[0] == "runners":
            continue
        assert "os.environ" not in path.read_text(), path
        assert "getenv" not in path.read_text(), path
