"""Runs `singsong prepare` in a separate process, and inspects its output."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from singsong import storage
from singsong.dataset.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
_PARTS_WITHIN_S = 240.0


def start_prepare(
    music: Path,
    output: Path | str,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    module: str = "singsong",
) -> "subprocess.Popen[str]":
    """Starts `singsong prepare` in a new session, with stdout and stderr in one pipe."""
    command = [sys.executable, "-m", module, "prepare", str(music), "--output", str(output)]
    return subprocess.Popen(
        [*command, *flags],
        cwd=ROOT,
        env=dict(environment or os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def parts(output: Path) -> dict[str, int]:
    """Returns the modification time of each part in nanoseconds, by file name."""
    return {path.name: path.stat().st_mtime_ns for path in output.rglob("parts/*/*.parquet")}


def wait_for_parts(process: "subprocess.Popen[str]", output: Path, *, at_least: int) -> None:
    """Waits until a running job has written some parts.

    Raises:
        RuntimeError: The job ends before that.
        TimeoutError: It takes too long.
    """
    deadline = time.monotonic() + _PARTS_WITHIN_S
    while len(parts(output)) < at_least:
        if process.poll() is not None:
            printed = process.stdout.read() if process.stdout else ""
            raise RuntimeError(f"the job ended before it wrote {at_least} parts:\n{printed}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the job wrote {len(parts(output))} parts, waiting for {at_least}")
        time.sleep(0.01)


def finish(process: "subprocess.Popen[str]", *, code: int = 0, timeout_s: float = 300) -> str:
    """Waits for a process and returns its output.

    Raises:
        RuntimeError: It exits with another code.
    """
    printed, _ = process.communicate(timeout=timeout_s)
    if process.returncode != code:
        raise RuntimeError(f"expected exit code {code}, found {process.returncode}:\n{printed}")
    return printed


def digest(output: Path | str) -> str:
    """Returns the digest of a dataset."""
    return str(read_manifest(str(output)).dataset_digest)


def committed_bytes(output: Path | str) -> dict[str, str]:
    """Returns the sha256 of each file of a dataset except its parts, by path."""
    return {
        name: storage.sha256_of(storage.join(str(output), name))[0]
        for name in storage.list_files(str(output))
        if not name.startswith("parts/")
    }
