"""The files that names, folders, globs and URLs stand for, and the tracks in them.

No Beam, so that the command line finds a missing input at once.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from singsong import storage
from singsong.schemas.elements import SourceFile, Track
from singsong.schemas.errors import (
    ClipError,
    ContentChangedError,
    EmptyFileError,
    UnreadableFileError,
)
from singsong.storage import StoreUnavailableError

_LISTING_NAME = "listing"


def list_source_files(url: str, *, only_files: bool = False) -> Iterator[SourceFile]:
    """Yields each file that a file, folder, glob or fsspec URL names.

    Hidden files and folders are left out, unless they are named. A link to a file counts as a
    file, and a link to a folder as that folder. A walk enters no folder twice, so it ends even
    where links form a loop.

    Args:
        url: The name.
        only_files: Take the name as that of one file, without checking that it exists.

    Raises:
        FileNotFoundError: Nothing has that name.
    """
    if only_files:
        yield (
            _source_file(storage.local_path(url))
            if storage.is_local(url)
            else SourceFile(uri=url, size_bytes=0)
        )
        return
    if storage.is_local(url):
        yield from _list_local(storage.local_path(url))
        return
    found = storage.find_objects(url)
    if not found:
        raise FileNotFoundError(f"{url} names no file")
    named = _before_magic(url)
    for uri, size_bytes in found:
        if not _is_hidden(uri, named):
            yield SourceFile(uri=uri, size_bytes=size_bytes)


def _before_magic(url: str) -> str:
    """Returns the folders of a glob that hold no wildcard; the whole URL where there is none."""
    parts = url.rstrip("/").split("/")
    magic = (number for number, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[: next(magic, len(parts))])


def _is_hidden(uri: str, named: str) -> bool:
    """Returns whether a part of a URL beyond the named folders begins with a dot."""
    return any(part.startswith(".") for part in uri.split("/")[named.count("/") + 1 :])


def write_listing(files: Iterable[SourceFile], folder: str | None) -> str | None:
    """Writes files that were listed to a folder, for `read_listing`, and returns its path.

    Args:
        files: The files.
        folder: A folder that the workers share with this machine; None writes nothing.
    """
    if folder is None:
        return None
    path = os.path.join(folder, _LISTING_NAME)
    with open(path, "w", encoding="ascii") as listing:
        listing.writelines(f"{json.dumps([file.uri, file.size_bytes])}\n" for file in files)
    return path


def read_listing(path: str) -> Iterator[SourceFile]:
    """Yields the files of a listing."""
    with open(path, encoding="ascii") as listing:
        for line in listing:
            uri, size_bytes = json.loads(line)
            yield SourceFile(uri=uri, size_bytes=size_bytes)


def names_a_file(url: str) -> bool:
    """Returns whether at least one file has this name, without listing a whole bucket."""
    if not storage.is_local(url) and not glob.has_magic(url):
        return storage.exists(url)
    try:
        return next(list_source_files(url), None) is not None
    except FileNotFoundError:
        return False


def _list_local(path: str) -> Iterator[SourceFile]:
    if not os.path.lexists(path) and glob.has_magic(path):
        matches = glob.glob(path, recursive=True)
    else:
        matches = [path]
    if not all(os.path.lexists(match) for match in matches) or not matches:
        raise FileNotFoundError(f"{storage.url_of(path)} names no file")
    for match in matches:
        if not os.path.isdir(match):
            yield _source_file(match)
            continue
        yield from map(_source_file, _walk(match))


def _walk(top: str) -> Iterator[str]:
    """Yields the files below a folder and its linked folders; enters each folder once."""
    entered = {os.path.realpath(top)}
    for folder, folders, names in os.walk(top, followlinks=True):
        inside = sorted(name for name in folders if not name.startswith("."))
        folders.clear()
        for name in inside:
            target = os.path.realpath(os.path.join(folder, name))
            if target not in entered:
                entered.add(target)
                folders.append(name)
        yield from (os.path.join(folder, n) for n in sorted(names) if not n.startswith("."))


def _source_file(path: str) -> SourceFile:
    absolute = os.path.abspath(path)
    try:
        size = os.stat(absolute).st_size
    except OSError:
        size = 0  # hashing the file reports what is wrong
    return SourceFile(uri=storage.url_of(absolute), size_bytes=size)


def unreadable(error: OSError) -> ClipError | OSError:
    """Returns what to raise when a file cannot be read.

    The error of a store that does not answer says nothing about the file. It propagates, so that
    the runner retries or stops, instead of giving up one file after another.
    """
    if isinstance(error, StoreUnavailableError):
        return error
    return UnreadableFileError(f"the file cannot be read: {error.strerror or error}")


def identify(file: SourceFile) -> Track:
    """Returns the track in a file, named by its content.

    Raises:
        UnreadableFileError: The file is missing, or may not be read.
        EmptyFileError: It has no bytes.
        StoreUnavailableError: The store does not answer.
    """
    if storage.is_local(file.uri) and not os.path.isfile(storage.local_path(file.uri)):
        raise UnreadableFileError("the file is missing, or not a regular file")
    try:
        digest, size = storage.sha256_of(file.uri)
    except OSError as error:
        raise unreadable(error) from error
    if not size:
        raise EmptyFileError("the file has no bytes")
    return Track(track_id=digest, uri=file.uri, size_bytes=size)


@contextmanager
def local_track(track: Track) -> Iterator[str]:
    """Yields a local file name with the bytes of a track: the file itself, or a scratch copy.

    Raises:
        UnreadableFileError: The file is gone, or cannot be read any more.
        StoreUnavailableError: The store does not answer.
    """
    with ExitStack() as stack:
        try:
            local = stack.enter_context(storage.local_copy(track.uri))
        except OSError as error:
            raise unreadable(error) from error
        yield local


def check_content(track: Track, path: str) -> None:
    """Checks that a local copy still holds the bytes that named the track.

    Raises:
        ContentChangedError: It does not.
        UnreadableFileError: It cannot be read.
    """
    try:
        digest, _ = storage.sha256_of(path)
    except OSError as error:
        raise unreadable(error) from error
    if digest != track.track_id:
        raise ContentChangedError("the file changed while the job ran")
