"""Runs pytest in forks of a process that has imported the libraries, so that no run imports them.

    python -P tests/mutants/fork_server.py

Each line on stdin is a JSON object with the arguments of pytest, the folder for temporary files and
the file that the output goes to. The answers are lines on stdout: first "ready", then for each run
the process and, when it has ended, its exit code. No code of the tree is imported before a fork.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
from contextlib import suppress

import pytest

LIBRARIES = (
    "anyio.pytest_plugin",
    "apache_beam",
    "fsspec",
    "hypothesis",
    "numpy",
    "pyarrow.parquet",
    "soundfile",
    "soxr",
    "torch",
    "xdist.plugin",
)


def main() -> None:
    """Serves until stdin ends."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # what is there is neither searched for garbage in each fork, nor copied for it
    _answer("ready")
    while line := sys.stdin.readline():
        process = os.fork()
        if not process:
            sys.exit(_run(**json.loads(line)))
        with suppress(PermissionError, ProcessLookupError):  # the fork was faster
            os.setpgid(process, process)
        _answer(process)
        _, status = os.waitpid(process, 0)
        _answer(os.waitstatus_to_exitcode(status))


def _answer(value: object) -> None:
    os.write(1, f"{value}\n".encode())


def _run(arguments: list[str], scratch: str, output: str) -> int:
    os.setpgid(0, 0)
    for descriptor, path in ((0, os.devnull), (1, output)):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
        os.close(file)
    os.dup2(1, 2)
    os.environ["TMPDIR"] = scratch
    tempfile.tempdir = None  # a library may have asked for the folder before
    return int(pytest.main(arguments))


if __name__ == "__main__":
    main()
