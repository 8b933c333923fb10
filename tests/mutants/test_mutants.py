"""The listed mutants still apply, and the runner tells what tests notice from what they miss."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.mutants.__main__ import main
from tests.mutants.arguments import ROOT
from tests.mutants.listings import FOLDER, Mutant, read_listings
from tests.mutants.trials import Copies, Outcome, outcome_of, source_files

MUTANTS = read_listings(ROOT / FOLDER)

ARITHMETIC = (
    "def double(number):\n    return 2 * number\n\n\ndef half(number):\n    return number / 2\n"
)
TESTS = """
import subprocess
import sys

from arithmetic import double


def test_double():
    assert double(3) == 6


def test_double_in_another_process():
    program = "import arithmetic; print(arithmetic.double(3))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert printed.stdout.split() == [b"6"]
"""
BUGS = """
[[mutant]]
name = "doubles with a plus"
file = "arithmetic.py"
old = "2 * number"
new = "2 + number"
tests = ["tests/test_arithmetic.py::test_double"]

[[mutant]]
name = "squares"
file = "arithmetic.py"
old = "2 * number"
new = "number * number"
tests = ["tests/test_arithmetic.py::test_double_in_another_process"]

[[mutant]]
name = "halves wrong"
file = "arithmetic.py"
old = "number / 2"
new = "number / 3"
tests = ["tests/test_arithmetic.py"]

[[mutant]]
name = "is out of date"
file = "arithmetic.py"
old = "3 * number"
new = "4 * number"
tests = ["tests/test_arithmetic.py"]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Returns a git working tree with a module, its tests, and bugs to plant."""
    root = tmp_path / "tree"
    (root / FOLDER).mkdir(parents=True)
    (root / "arithmetic.py").write_text(ARITHMETIC)
    (root / "tests" / "test_arithmetic.py").write_text(TESTS)
    (root / FOLDER / "bugs.toml").write_text(BUGS)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def mutant(**changes: object) -> Mutant:
    values = {
        "name": "n",
        "file": "arithmetic.py",
        "old": "2 * number",
        "new": "3",
        "tests": ("tests/test_arithmetic.py",),
        "listing": "l",
    }
    return Mutant(**{**values, **changes})


@pytest.mark.parametrize("listed", MUTANTS, ids=str)
def test_a_listed_mutant_still_applies(listed: Mutant) -> None:
    assert listed.mutated(ROOT) != (ROOT / listed.file).read_text(encoding="utf-8")
    assert not listed.missing_tests(ROOT)


def test_the_runner_tells_killed_from_survivors(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert main(["--root", str(tree), "--jobs", "2"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "does not apply: 1",
        "  bugs.toml: is out of date (arithmetic.py)",
        "    old must occur once in arithmetic.py, found it 0 times",
        "survived: 1",
        "  bugs.toml: halves wrong (arithmetic.py)",
        "killed 2 of 4",
    ]
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    assert main(["--root", str(tree), "--only", "SQUARES"]) == 0
    assert capsys.readouterr().out == "killed 1 of 1\n"
    assert main(["--root", str(tree), "--only", "divides"]) == 1
    assert "has 'divides' in its name" in capsys.readouterr().out


def test_tests_must_pass_without_a_mutant(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "arithmetic.py").write_text(ARITHMETIC.replace("2 * number", "7"))
    assert main(["--root", str(tree), "--only", "halves"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("These tests must pass without a mutant, and do not:")
    assert "FAILED tests/test_arithmetic.py::test_double" in printed
    assert "killed" not in printed


def test_tests_that_do_not_end_are_killed_with_their_processes(tree: Path, tmp_path: Path) -> None:
    hang = "import subprocess, time\nfrom pathlib import Path\n\ndef test_hang():\n"
    hang += "    child = subprocess.Popen(['sleep', '600'])\n"
    hang += (
        f"    Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n    time.sleep(600)\n"
    )
    (tree / "tests" / "test_hang.py").write_text(hang)
    copies = Copies(tmp_path / "copies", root=tree, count=1)
    hanging = mutant(tests=("tests/test_hang.py",))
    trial = copies.run_mutant(hanging, time_limit_s=8)
    assert trial.outcome is Outcome.TIMED_OUT
    assert trial.outcome.killed
    _wait_for_end(int((tmp_path / "child").read_text()))
    # The copy is whole again: its tests pass.
    assert copies.run_tests(("tests/test_arithmetic.py",)).outcome is Outcome.SURVIVED


def _hanging_test(child: Path) -> str:
    """Returns a test that starts a process, writes its id to a file, and does not end."""
    return f"""
import subprocess, time
from pathlib import Path

def test_hang():
    child = subprocess.Popen(["sleep", "600"])
    Path({str(child)!r}).write_text(str(child.pid))
    time.sleep(600)
"""


def test_terminated_it_leaves_nothing_behind(tree: Path, tmp_path: Path) -> None:
    (tree / "tests" / "test_arithmetic.py").write_text(_hanging_test(tmp_path / "child"))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "tests.mutants", "--root", str(tree), "--only", "halves"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(scratch)})
    child = tmp_path / "child"
    for _ in range(600):
        if child.exists() and child.read_text():
            break
        time.sleep(0.1)
    process.terminate()
    assert process.wait(timeout=30) == 128 + signal.SIGTERM
    _wait_for_end(int(child.read_text()))
    assert list(scratch.iterdir()) == []


def _wait_for_end(process: int) -> None:
    for _ in range(100):
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":  # dead; nobody asked how it ended
            return
        time.sleep(0.1)
    pytest.fail(f"process {process} still runs")


def test_a_trial_finds_the_libraries_imported_and_no_code_of_another_trial(
    tree: Path, tmp_path: Path
) -> None:
    lines = ["import sys", "", "def test_modules():", "    assert 'pyarrow.parquet' in sys.modules"]
    lines += ["    assert 'arithmetic' not in sys.modules", ""]
    (tree / "tests" / "test_modules.py").write_text("\n".join(lines))
    with closing(Copies(tmp_path / "copies", root=tree, count=1)) as copies:
        for name in ("test_arithmetic.py", "test_modules.py"):
            assert copies.run_tests((f"tests/{name}",)).outcome is Outcome.SURVIVED


def test_a_missing_test_is_not_a_killed_mutant(tree: Path, tmp_path: Path) -> None:
    copies = Copies(tmp_path / "copies", root=tree, count=1)
    trial = copies.run_mutant(
        mutant(tests=("tests/test_arithmetic.py::test_gone",)), time_limit_s=60
    )
    assert trial.outcome is Outcome.NOT_RUN
    assert not trial.outcome.killed
    assert "test_gone" in trial.detail
    assert mutant(tests=("tests/test_arithmetic.py::test_gone",)).missing_tests(tree)
    assert mutant(tests=("tests/test_gone.py",)).missing_tests(tree)
    assert not mutant(tests=("tests/test_arithmetic.py::test_double[x]",)).missing_tests(tree)


def test_closed_copies_run_nothing(tree: Path, tmp_path: Path) -> None:
    copies = Copies(tmp_path / "copies", root=tree, count=1)
    copies.close()
    with pytest.raises(RuntimeError, match="after close"):
        copies.run_tests(("tests/test_arithmetic.py",))


def test_ignored_and_deleted_files_are_not_copied(tree: Path) -> None:
    (tree / ".gitignore").write_text("*.log\n")
    (tree / "run.log").touch()
    subprocess.run(["git", "-C", str(tree), "add", "."], check=True)
    (tree / "arithmetic.py").unlink()
    (tree / "new.py").touch()
    listing = f"{FOLDER}/bugs.toml"
    want = [".gitignore", "new.py", "tests/test_arithmetic.py", listing]
    assert sorted(source_files(tree)) == sorted(want)


def test_exit_codes() -> None:
    codes = {None: Outcome.TIMED_OUT, 0: Outcome.SURVIVED, 1: Outcome.KILLED, 2: Outcome.KILLED}
    codes |= {-signal.SIGSEGV: Outcome.KILLED, 4: Outcome.NOT_RUN, 5: Outcome.NOT_RUN}
    assert {code: outcome_of(code) for code in codes} == codes


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"file": "gone.py"}, "found no gone.py"),
        ({"old": "number"}, "found it 4 times"),
        ({"new": "2 *"}, "valid Python"),
    ],
)
def test_a_mutant_that_does_not_apply_says_why(
    tree: Path, changes: dict[str, str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        mutant(**changes).mutated(tree)


def test_a_listing_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "bugs.toml"
    for text, complaint in (
        (BUGS.replace('new = "2 + number"\n', ""), "must be a listing of mutants"),
        (BUGS.replace('name = "squares"', 'names = "squares"'), "must be a listing of mutants"),
        ("[[mutant", "must be a listing of mutants"),
        (BUGS + BUGS, "found twice"),
        (BUGS.replace("2 + number", "2 * number"), "the same text"),
        (BUGS.replace('["tests/test_arithmetic.py"]', "[]"), "found none"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=complaint):
            read_listings(tmp_path)
    path.write_text(BUGS)
    assert len(read_listings(tmp_path)) == 4


def test_it_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "tests.mutants", "--only", "no such mutant"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "has 'no such mutant'" in done.stdout
