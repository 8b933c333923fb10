"""Runs tests in copies of the source tree, so that the working tree is never touched."""

from __future__ import annotations

import json
import os
import queue
import select
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
        self._servers: dict[Path, _Server] = {}
        self._lock, self._closed = threading.Lock(), False
        files = source_files(root)
        for number in range(count):
            # The folder has the package's name, so that its parent on the path makes it importable.
            copy = folder / str(number) / PACKAGE
            _copy(files, root=root, copy=copy)
            self._servers[copy] = _Server(copy)
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
            for server in self._servers.values():
                server.close()

    @contextmanager
    def _lent(self) -> Iterator[Path]:
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def _run(self, copy: Path, tests: Sequence[str], *, time_limit_s: float | None) -> Trial:
        server, output = self._servers[copy], copy.parent / "output"
        self._check_open()
        server.wait_until_ready()
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=copy.parent) as scratch:
            with self._lock:
                self._check_open()
                server.start(tests, scratch=scratch, output=str(output))
            code = server.exit_code(time_limit_s)
        seconds = time.monotonic() - started
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        return Trial(outcome=outcome_of(code), detail="\n".join(lines), seconds=seconds)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("no trial may start after close()")


class _Server:
    """Runs tests in one copy, see `tests.mutants.fork_server`."""

    def __init__(self, copy: Path) -> None:
        program = Path(__file__).with_name("fork_server.py")
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(program)],
            cwd=copy,
            env=_environment(copy),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # so that select() sees each answer
            start_new_session=True,
        )
        self._ready = False
        self._running: int | None = None

    def wait_until_ready(self) -> None:
        """Returns once the libraries are imported."""
        if not self._ready:
            self._ready = self._answer() == "ready"

    def start(self, tests: Sequence[str], *, scratch: str, output: str) -> None:
        """Starts pytest."""
        arguments = ["-x", "-q", "--disable-warnings", "-p", "no:cacheprovider", *tests]
        request = {"arguments": arguments, "scratch": scratch, "output": output}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        self._running = int(self._answer())

    def exit_code(self, time_limit_s: float | None) -> int | None:
        """Returns the exit code of pytest, or None if it had to be killed."""
        ended, _, _ = select.select([self._process.stdout], [], [], time_limit_s)
        _kill(self._running)  # and the processes that the tests started
        code = int(self._answer())
        self._running = None
        return code if ended else None

    def close(self) -> None:
        """Kills the server and what it runs."""
        if self._running is not None:
            _kill(self._running)
        _kill(self._process.pid)
        self._process.wait()

    def _answer(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process that runs the tests has ended")
        return line.decode().strip()


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


def _environment(copy: Path) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": "1",  # several trials run at once
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(copy), str(copy.parent)]),
        # Byte code is matched by size and second: a mutant's would pass for the original's.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _kill(process: int) -> None:
    """Kills a process and those that it started, and that did not leave its group."""
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
