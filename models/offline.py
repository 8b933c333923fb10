"""Folders that hold a model's files and their hashes, for machines without a network."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from singsong.models.weights import WeightsError
from singsong.storage import TEMPORARY_PREFIX, put_bytes, sha256_of

SUMS = "SHA256SUMS"
"""The file of the hashes, as `sha256sum -c` reads it."""


def write_folder(files: Sequence[Path], folder: Path) -> None:
    """Copies files to a folder that appears whole or not at all, with a `SHA256SUMS` of them.

    A folder that is there already stays if it holds the same; one that another call wrote is
    replaced.

    Args:
        files: Files with different names.
        folder: Where to; folders above it are made.

    Raises:
        WeightsError: There is something of that name that this function did not write.
        OSError: The disk is full, or cannot be written.
    """
    sums = {path.name: sha256_of(str(path))[0] for path in files}
    if folder.exists():
        if not (folder / SUMS).is_file():
            raise WeightsError(f"{folder} is there, and holds no {SUMS}: choose another folder")
        if _read_sums(folder) == sums and not broken_files(folder):
            return
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=folder.parent))
    try:
        for path in files:
            shutil.copyfile(path, scratch / path.name)
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
        put_bytes(str(scratch / SUMS), lines.encode())
        scratch.chmod(0o755)
        before = scratch.with_name(f"{scratch.name}-before")
        if folder.exists():
            os.replace(folder, before)  # it is removed only once the new one is there
        os.replace(scratch, folder)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def broken_files(folder: Path) -> list[str]:
    """Returns what is wrong with the files that a folder's `SHA256SUMS` names, a sentence each.

    Args:
        folder: A folder; without a `SHA256SUMS`, nothing is known to be wrong.

    Raises:
        WeightsError: The `SHA256SUMS` is not one.
    """
    problems = []
    for name, digest in _read_sums(folder).items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{path} is missing")
        elif sha256_of(str(path))[0] != digest:
            problems.append(f"{path} is not the file that was fetched: its sha256 differs")
    return problems


def _read_sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        return {}
    found = {}
    for line in path.read_text().splitlines():
        match = re.fullmatch(r"([0-9a-f]{64})  ([^/]+)", line)
        if match is None:
            raise WeightsError(f"{path} has a line that is no sha256 and file name: {line!r}")
        found[match[2]] = match[1]
    return found
