"""Writes objects whole or not at all.

A local file is written under a temporary name and renamed. An object store shows an upload only
when it is complete, and a rename there is a copy that can fail half-way, so objects are uploaded
straight to their name.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from fsspec.spec import AbstractBufferedFile

from singsong.storage.errors import Access, is_lost_upload
from singsong.storage.filesystems import BLOCK_BYTES, CHUNK_BYTES, filesystem, translated_errors
from singsong.storage.urls import TEMPORARY_PREFIX, is_local

_ONE_REQUEST_BYTES = 4 << 20
_UPLOAD_TRIES = 3


class HashingFile:
    """A writable file that counts and hashes what passes through to another file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes_written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Writes bytes and returns their number."""
        view = memoryview(data).cast("B")
        self._sha256.update(view)
        self.bytes_written += len(view)
        self._file.write(view)
        return len(view)

    def tell(self) -> int:
        """Returns the number of bytes written."""
        return self.bytes_written

    def flush(self) -> None:
        """Flushes the underlying file."""
        self._file.flush()

    def close(self) -> None:
        """Marks this object as closed; the underlying file stays open."""
        self.closed = True

    def writable(self) -> bool:
        """Returns True."""
        return True

    def readable(self) -> bool:
        """Returns False."""
        return False

    def seekable(self) -> bool:
        """Returns False."""
        return False

    @property
    def sha256(self) -> str:
        """Hex digest of what has been written so far."""
        return self._sha256.hexdigest()


@contextmanager
def spooled_file() -> Iterator[BinaryIO]:
    """Yields a scratch file, removed at the end, for an object whose name is not known yet."""
    with tempfile.TemporaryFile(prefix="singsong-") as file:
        yield file


def put_file(url: str, source: BinaryIO) -> None:
    """Puts the content of a file to a URL, whole or not at all.

    Args:
        url: The target.
        source: Read from its start.

    Raises:
        OSError: The disk is full, or the target cannot be written; the target is unchanged.
    """
    source.seek(0)
    fs, path = filesystem(url)
    if not is_local(url):
        with translated_errors(url, Access.WRITE):
            _upload(fs, path, source)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as target:
            shutil.copyfileobj(source, target, CHUNK_BYTES)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):  # after the rename, there is none
            os.unlink(temporary)


def _upload(fs: Any, path: str, source: BinaryIO) -> None:
    small = source.read(_ONE_REQUEST_BYTES)
    if len(small) < _ONE_REQUEST_BYTES:
        fs.pipe_file(path, small)
        return
    for tries_left in reversed(range(_UPLOAD_TRIES)):
        try:
            _upload_blocks(fs, path, source)
            return
        # The error of a lost upload is a class of gcsfs, which may not be installed.
        except Exception as error:
            if not tries_left or not is_lost_upload(error):
                raise


def _upload_blocks(fs: Any, path: str, source: BinaryIO) -> None:
    source.seek(0)
    target = fs.open(path, "wb", block_size=BLOCK_BYTES)
    try:
        shutil.copyfileobj(source, target, CHUNK_BYTES)
        target.close()
    # Ctrl-C, too, must not leave a target behind that is completed when it is garbage-collected.
    except BaseException:
        _abandon(target)
        raise


def _abandon(target: Any) -> None:
    """Discards a failed upload: closing the file would store an incomplete object."""
    if isinstance(target, AbstractBufferedFile):
        # The store never lists an unfinished upload, so a failure here hides no damage, and the
        # first error is the one to report.
        with suppress(Exception):
            target.discard()
        target.closed = True
    else:
        target.close()


def put_bytes(url: str, data: bytes) -> None:
    """Puts bytes to a URL, whole or not at all. Raises as `put_file`."""
    with spooled_file() as file:
        file.write(data)
        put_file(url, file)
