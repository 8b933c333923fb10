"""The checksum of a part file, kept inside it.

Parquet checks its pages, not its footer, and a flipped bit in a footer may move a column or change
a figure. So a part ends in a sha256 of all its bytes, taken while the digest itself is still zeros.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import BinaryIO

from singsong.dataset.manifest import DatasetError

SEAL_KEY = "singsong.seal"
UNSEALED = "sha256:" + "0" * 64
"""What the footer says under `SEAL_KEY` until the file is sealed."""

_DIGEST_BYTES = 64
_SEAL = re.compile(rb"sha256:([0-9a-f]{64})")
_TAIL_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20


def seal(file: BinaryIO) -> None:
    """Writes the checksum of a finished part into its footer.

    Args:
        file: Open for reading and writing; its footer has `UNSEALED` under `SEAL_KEY`.
    """
    start, _ = _find_seal(file)
    digest = _digest(file, start)
    file.seek(start)
    file.write(digest.encode())


def check_seal(path: str, *, name: str) -> None:
    """Checks all bytes of a part.

    Args:
        path: A local file.
        name: The part, for messages.

    Raises:
        DatasetError: A byte was changed, or the file is not a part.
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            start, stated = _find_seal(file)
        except ValueError:
            raise DatasetError(f"{name} is damaged: it has no checksum, so it is no part") from None
        if _digest(file, start) != stated:
            raise DatasetError(f"{name} is damaged: its bytes do not have the checksum it states")


def _find_seal(file: BinaryIO) -> tuple[int, str]:
    """Returns where the digest lies, and the digest. Raises ValueError where there is none."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    found = list(_SEAL.finditer(file.read()))
    if not found:
        raise ValueError("no seal")
    return start + found[-1].start(1), found[-1][1].decode()


def _digest(file: BinaryIO, start: int) -> str:
    """Returns the sha256 of a file with zeros where the digest lies."""
    digest, left = hashlib.sha256(), start
    file.seek(0)
    while left:
        chunk = file.read(min(left, _CHUNK_BYTES))
        digest.update(chunk)
        left -= len(chunk)
    digest.update(b"0" * _DIGEST_BYTES)
    file.seek(start + _DIGEST_BYTES)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
