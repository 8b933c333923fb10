"""Runs tests in copies of the source tree, so that the working tree is never touched."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.mutants.listings import Mutant

PACKAGE = "singsong"
_PASSED, _FAILED, _BROKEN_IMPORT = 0, 1, 2  # exit codes of pytest: the last for failed collection


class Outcome(StrEnum):
    """What became of a trial."""

    SURVIVED = "survived"
    KILLED = "killed"
    TIMED_OUT = "killed by the time limit"
    NOT_APPLIED = "does not apply"
    NOT_RUN = "its tests did not run"

    @property
    def killed(self) -> bool:
        """Whether the tests noticed."""
        return self in (Outcome.KILLED, Outcome.TIMED_OUT)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the tests said.

    Attributes:
        outcome: In a word.
        detail: Why the mutant does not apply, or what pytest printed last.
        seconds: How long the tests ran.
    """

    outcome: Outcome
    detail: str = ""
    seconds: float = 0.0


class Copies:
    """Copies of a source tree, each lent to one trial at a time.

    Args:
        folder: An empty folder for the copies.
        root: The git working tree to copy: what git tracks, and what is new and not ignored.
        count: How many trials run at once.

    Raises:
        subprocess.CalledProcessError: The root is not in a git working tree.
    """

    def __init__(self, folder: Path, *, root: Path, count: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._closed = threading.Lock(), False
        files = source_files(root)
        for number in range(count):
            # The folder has the package's name, so that its parent on the path makes it importable.
            copy = folder / str(number) / PACKAGE
            _copy(files, root=root, copy=copy)
            self._free.put(copy)

    def run_mutant(self, mutant: Mutant, *, time_limit_s: float) -> Trial:
        """Runs the tests of a mutant on a copy that holds it."""
        with self._lent() as copy:
            path = copy / mutant.file
            try:
                mutated = mutant.mutated(copy)
            except ValueError as error:
                return Trial(outcome=Outcome.NOT_APPLIED, detail=str(error))
            before = path.read_bytes()
            path.write_text(mutated, encoding="utf-8")
            try:
                return self._run(copy, mutant.tests, time_limit_s=time_limit_s)
            finally:
                path.write_bytes(before)

    def run_tests(self, tests: Sequence[str], *, time_limit_s: float | None = None) -> Trial:
        """Runs tests on a copy without a mutant: `SURVIVED` if all pass."""
        with self._lent() as copy:
            return self._run(copy, tests, time_limit_s=time_limit_s)

    def close(self) -> None:
        """Kills what still runs, and lets nothing new start."""
        with self._lock:
            self._closed = True
            for process in list(self._running):  # their threads take them out
                _kill(process)

    @contextmanager
    def _lent(self) -> Iterator[Path]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def _run(self, copy: Path, tests: Sequence[str], *, time_limit_s: float | None) -> Trial:
        started, output = time.monotonic(), copy.parent / "output"
        with tempfile.TemporaryDirectory(dir=copy.parent) as scratch, output.open("wb") as file:
            process = self._start(copy, tests, scratch=scratch, output=file.fileno())
            try:
                code = process.wait(time_limit_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _kill(process)
                self._running.discard(process)
        seconds = time.monotonic() - started
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        return Trial(outcome=outcome_of(code), detail="\n".join(lines), seconds=seconds)

    def _start(
        self, copy: Path, tests: Sequence[str], *, scratch: str, output: int
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        with self._lock:
            if self._closed:
                raise RuntimeError("no trial may start after close()")
            process = subprocess.Popen(
                command,
                cwd=copy,
                env=_environment(copy, scratch=scratch),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process)
        return process


def source_files(root: Path) -> list[str]:
    """Returns the paths of what git tracks, and of what is new and not ignored."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run([*command, "--exclude-standard"], check=True, capture_output=True)
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [name for name in names if os.path.lexists(root / name)]


def outcome_of(code: int | None) -> Outcome:
    """Returns what the exit code of pytest means; none is for tests that had to be killed."""
    if code is None:
        return Outcome.TIMED_OUT
    if code == _PASSED:
        return Outcome.SURVIVED
    if code in (_FAILED, _BROKEN_IMPORT) or code < 0:
        return Outcome.KILLED
    return Outcome.NOT_RUN  # no such test, a wrong flag, or an error of pytest


def _copy(files: Sequence[str], *, root: Path, copy: Path) -> None:
    for name in files:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, copy / name, follow_symlinks=False)


def _environment(copy: Path, *, scratch: str) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": "1",  # several trials run at once
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy.parent)]),
        # Byte code is matched by size and second: a mutant's would pass for the original's.
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": scratch,
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the tests, and the processes that they started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
