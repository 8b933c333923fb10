"""Paths and URLs of files and objects."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from urllib.parse import unquote_to_bytes

TEMPORARY_PREFIX = ".tmp-"


def is_local(url: str) -> bool:
    """Returns whether a path or URL names a file on this machine.

    >>> is_local("music/a.wav"), is_local("file:///a.wav"), is_local("gs://bucket/a.wav")
    (True, True, False)
    """
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """Returns the file name of a local path or file URL; it may contain surrogate escapes.

    >>> local_path("file:///music/caf%C3%A9.wav")
    '/music/café.wav'
    """
    if url.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(url[len("file://") :]))
    return url


def url_of(path: str) -> str:
    r"""Returns the path itself, or a file URL if the path is not valid UTF-8.

    >>> url_of("/music/a.wav"), url_of("/music/a\udcff.wav")
    ('/music/a.wav', 'file:///music/a%FF.wav')
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return Path(path).as_uri()
    return path


def join(base: str, *names: str) -> str:
    """Returns `base/names...` for a path or a URL."""
    return os.path.join(base, *names) if is_local(base) else posixpath.join(base, *names)
