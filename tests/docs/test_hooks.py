"""What the hooks of the site make, without MkDocs."""

import re
import sys
from pathlib import Path

from tests.docs.pages import ROOT

sys.path.insert(0, str(ROOT / "docs" / "hooks"))
import api_sources
import code_fences
import doctest_fences


def test_the_package_is_copied_without_what_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "singsong").mkdir()
    (tmp_path / "singsong" / "gone.py").touch()
    api_sources.copy_package(tmp_path / "singsong")
    copied = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py")}
    assert {"singsong/__init__.py", "singsong/models/lite/mdct.py"} <= copied
    assert not {path for path in copied if path.startswith(("singsong/tests", "singsong/bench"))}
    assert not {"singsong/setup.py", "singsong/gone.py"} & copied
    original = (ROOT / "models/lite/mdct.py").read_bytes()
    assert (tmp_path / "singsong/models/lite/mdct.py").read_bytes() == original


def test_a_name_on_the_python_page_is_public() -> None:
    """The names of `singsong.__all__` are all on the page."""
    import singsong

    page = (ROOT / "docs/reference/api.md").read_text()
    for name in singsong.__all__:
        if name != "__version__":
            assert f"::: singsong.{name}\n" in page or f".{name}\n" in page, name


def test_examples_in_docstrings_get_a_fence_and_nothing_else_does() -> None:
    text = "Adds.\n\nArgs:\n    a: One.\n\n>>> 1 + 1\n2\n>>> 2 + 2\n4"
    assert doctest_fences.fenced(text) == (
        "Adds.\n\nArgs:\n    a: One.\n\n```pycon\n>>> 1 + 1\n2\n>>> 2 + 2\n4\n```"
    )
    assert doctest_fences.fenced("Adds.\n\n    a = 1") == "Adds.\n\n    a = 1"


def test_fences_say_only_their_language() -> None:
    """MkDocs shows a fence with anything else after it as text."""
    page = "```python notest\nx = 1\n```\n\n```toml\na = 1\n```\n"
    assert code_fences.on_page_markdown(page) == page.replace(" notest", "")
    for path in (ROOT / "docs").rglob("*.md"):
        shown = code_fences.on_page_markdown(path.read_text())
        marks = re.findall(r"^ *```(.+)$", shown, re.M)
        assert all(re.fullmatch(r"\w+", mark) for mark in marks), (path, marks)
