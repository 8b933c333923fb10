"""Local copies of objects, for libraries that read local files only."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from singsong.storage.filesystems import CHUNK_BYTES
from singsong.storage.objects import list_files, open_read
from singsong.storage.urls import is_local, join, local_path


@contextmanager
def local_copy(url: str) -> Iterator[str]:
    """Yields a local file name with the content of `url`: the file itself, or a scratch copy.

    Raises:
        OSError: It does not exist, access is denied, or the store does not answer.
    """
    if is_local(url):
        yield local_path(url)
        return
    with tempfile.NamedTemporaryFile(prefix="singsong-") as copy:
        with open_read(url) as source:
            shutil.copyfileobj(source, copy, CHUNK_BYTES)
        copy.flush()
        yield copy.name


@contextmanager
def local_folder(url: str) -> Iterator[str]:
    """Yields a local folder with the files below `url`: the folder itself, or a scratch copy."""
    if is_local(url):
        yield local_path(url)
        return
    with tempfile.TemporaryDirectory(prefix="singsong-") as folder:
        for name in list_files(url):
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with local_copy(join(url, name)) as copy:
                shutil.copyfile(copy, path)
        yield folder
