"""The public API: small, lazy and typed."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version

import pytest

import singsong
from benchmarks.support.command import ROOT

IMPORT = """
import sys, time
before = set(sys.modules)
start = time.perf_counter()
import singsong
seconds = time.perf_counter() - start
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(seconds, sorted(new - set(sys.stdlib_module_names)), sorted(
    name for name in sys.modules if name.startswith("singsong.")
))
"""


def test_importing_it_takes_no_time_and_imports_nothing() -> None:
    seconds = []
    for _ in range(5):
        ran = subprocess.run(
            [sys.executable, "-c", IMPORT], check=True, capture_output=True, text=True
        )
        taken, imported = ran.stdout.strip().split(" ", 1)
        seconds.append(float(taken))
        assert imported == "['singsong'] []"
    assert min(seconds) < 0.1


def test_the_version_is_that_of_the_installed_package() -> None:
    assert singsong.__version__ == version("singsong")


def test_type_checkers_see_the_names_that_are_imported_lazily() -> None:
    """A name is written down in `__all__`, where it is imported from, and for type checkers."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: module for name, (module, _) in singsong._HOMES.items()}
    assert sorted([*seen, "__version__"]) == sorted(singsong.__all__)


@pytest.mark.parametrize("name", singsong.__all__)
def test_each_name_is_there(name: str) -> None:
    assert name in dir(singsong)
    value = getattr(singsong, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__module__ == singsong._HOMES[name][0]


def test_other_names_are_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'singsong' has no attribute 'sing'"):
        _ = singsong.sing


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    code = """if True:
        import sys
        sys.modules["torch"] = None
        import singsong
        try:
            singsong.ShardDataset
        except ImportError as error:
            print(type(error).__name__, error)
    """
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == (
        "MissingLibraryError singsong.ShardDataset needs torch, which is not installed: "
        "pip install 'singsong[train]'"
    )
