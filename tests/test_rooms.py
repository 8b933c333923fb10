"""The rooms of the house, and who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "schemas": set(),
    "singsong.audio": {"schemas"},
    "models": {"schemas", "singsong.audio"},
    "transforms": {"schemas", "singsong.audio", "models", "training"},
    "runners": {"schemas", "models", "transforms"},
    "training": {"schemas", "singsong.audio", "models"},
    "evaluation": {"schemas", "singsong.audio", "models", "training"},
    "pipelines": {
        "schemas",
        "singsong.audio",
        "models",
        "transforms",
        "runners",
        "training",
        "evaluation",
    },
}
NEVER_BEAM = ("schemas", "singsong.audio", "models", "training", "evaluation")
FILES = [
    path
    for room in (
        "schemas",
        "models",
        "transforms",
        "runners",
        "training",
        "evaluation",
        "pipelines",
    )
    for path in sorted((ROOT / room).rglob("*.py"))
]


def room_of(module: str) -> str | None:
    for room in sorted(MAY_IMPORT, key=len, reverse=True):
        if module == room or module.startswith(f"{room}."):
            return room
    return None


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
    room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert room is not None
    modules = imported_modules(path)
    ours = {room_of(module) for module in modules} - {None, room}
    assert ours <= MAY_IMPORT[room], f"{path} may not import from {ours - MAY_IMPORT[room]}"
    if room in NEVER_BEAM:
        assert not [module for module in modules if module.startswith("apache_beam")]


def test_inits_hold_a_docstring_and_nothing_else() -> None:
    inits = [path for path in FILES if path.name == "__init__.py"]
    assert inits
    for path in inits:
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert isinstance(body[0], ast.Expr), path


def test_no_element_or_dofn_is_defined_in_a_job() -> None:
    for path in (ROOT / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base) for base in node.bases}
                assert not bases & {"beam.DoFn", "beam.PTransform", "beam.coders.Coder"}, path


def test_no_environment_variable_is_read_outside_the_runners() -> None:
    for path in FILES:
        if room_of(".".join(path.relative_to(ROOT).with_suffix("").parts)) == "runners":
            continue
        assert "os.environ" not in path.read_text(), path
        assert "getenv" not in path.read_text(), path
