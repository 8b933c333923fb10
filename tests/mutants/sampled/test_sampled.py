"""The sample is fixed, means something and is run; its configuration does not rot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.arguments import ROOT
from tests.mutants.listings import Mutant
from tests.mutants.sampled.__main__ import main, report
from tests.mutants.sampled.sample import (
    CONFIG,
    SampleConfig,
    SampledFile,
    Survivor,
    change_name,
    read_config,
    sample,
)
from tests.mutants.trials import Outcome, Trial

FILES = read_config(ROOT).files
SOURCE = '''"""A module."""

from __future__ import annotations


def area(width: int | None, *, height: int) -> int | None:
    return None if width is None else width * height


def grown(size: int) -> int:
    return size + 1  # and not less
'''
TESTS = """
from shapes import area


def test_area():
    assert area(3, height=5) == 15
    assert area(None, height=5) is None
"""
CONFIG_TEXT = """
changes_per_file = 4
min_killed = 0.1

[[file]]
path = "shapes.py"
tests = ["test_shapes.py"]
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path)
def test_the_configuration_fits_the_tree(file: SampledFile) -> None:
    source = (ROOT / file.path).read_text(encoding="utf-8")
    lines = {line.strip() for line in source.splitlines()}
    for survivor in file.survivors:
        assert survivor.old in lines
        assert survivor.new not in lines
        assert len(survivor.reason) > 10
    assert all((ROOT / test.partition("::")[0]).is_file() for test in file.tests)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Returns a git working tree with a module, and tests of one of its two functions."""
    root = tmp_path / "tree"
    (root / CONFIG).parent.mkdir(parents=True)
    (root / "shapes.py").write_text(SOURCE)
    (root / "test_shapes.py").write_text(TESTS)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def test_the_sample_changes_code_and_not_annotations(tree: Path) -> None:
    file = SampledFile(path="shapes.py", tests=("test_shapes.py",))
    mutants = sample(file, root=tree, count=100)
    assert len({mutant.name for mutant in mutants}) == len(mutants)
    lines = {mutant.name.partition("  ->  ")[0] for mutant in mutants}
    assert lines == {
        "return None if width is None else width * height",
        "return size + 1  # and not less",
    }
    assert all(mutant.mutated(tree) == mutant.new for mutant in mutants)
    few = sample(file, root=tree, count=3)
    assert len(few) == 3
    assert set(few) < set(mutants)
    assert sample(file, root=tree, count=3) == few


def test_the_sample_stays_when_other_lines_change(tree: Path) -> None:
    file = SampledFile(path="shapes.py", tests=("test_shapes.py",))
    before = {mutant.name for mutant in sample(file, root=tree, count=100)}
    (tree / "shapes.py").write_text("LIMIT = 7\n" + SOURCE)
    after = {mutant.name for mutant in sample(file, root=tree, count=100)}
    assert before < after
    assert all(name.startswith("LIMIT = 7") for name in after - before)


def test_every_process_takes_the_same_sample(tree: Path) -> None:
    (tree / "shapes.py").write_text(SOURCE + SOURCE.partition("annotations")[2])
    program = "from pathlib import Path; from tests.mutants.sampled.sample import *; "
    program += "file = SampledFile(path='shapes.py', tests=('t',)); "
    program += f"print([m.new for m in sample(file, root=Path({str(tree)!r}), count=100)])"
    samples = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(samples) == 1


def test_the_sample_is_run(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / CONFIG).write_text(CONFIG_TEXT)
    assert main(["--root", str(tree)]) == 1
    printed = capsys.readouterr().out
    assert "width" not in printed  # all noticed
    assert "  return size + 1" in printed
    assert main(["--root", str(tree), "--only", "circles"]) == 1
    assert "has 'circles' in its path" in capsys.readouterr().out


def reported(min_killed: float, *survivors: Survivor, **outcomes: Outcome) -> int:
    """Reports mutants whose changed line is the name of the outcome."""
    file = SampledFile(path="shapes.py", tests=("t",), survivors=survivors)
    trials = {
        Mutant(
            name=change_name("line", new),
            file=file.path,
            old="a",
            new="b",
            tests=("t",),
            listing="",
        ): Trial(outcome=outcome)
        for new, outcome in outcomes.items()
    }
    config = SampleConfig(changes_per_file=9, min_killed=min_killed, files=(file,))
    return report(trials, [file], config)


def test_enough_must_be_killed_and_each_survivor_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = Survivor(old="line", new="b", reason="Nobody reads it.")
    half = {"a": Outcome.KILLED, "b": Outcome.SURVIVED}
    assert reported(0.5, known, **half) == 0
    assert capsys.readouterr().out.splitlines() == [
        "shapes.py: killed 1 of 2",
        "  line  ->  b",
        "      Nobody reads it.",
        "killed 1 of 2 (50.0%; wanted 50%)",
    ]
    assert reported(0.51, known, **half) == 1
    assert reported(0.5, **half) == 1
    printed = capsys.readouterr().out
    assert "      NO REASON\n" in printed
    assert printed.endswith(f"1 without a reason in {CONFIG}\n")
    assert reported(0.5, a=Outcome.TIMED_OUT, b=Outcome.NOT_RUN) == 1
    assert f"  line  ->  b ({Outcome.NOT_RUN})" in capsys.readouterr().out
    assert reported(1.0, known, a=Outcome.KILLED, b=Outcome.TIMED_OUT) == 0
    stale = f"no longer survives, so remove it from {CONFIG}: line  ->  b"
    assert stale in capsys.readouterr().out
