"""The files that names, folders, globs and URLs stand for, and the tracks in them.

No Beam, so that the command line finds a missing input at once.
"""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from singsong import storage
from singsong.schemas.elements import SourceFile, Track
from singsong.schemas.errors import (
    ClipError,
    ContentChangedError,
    EmptyFileError,
    UnreadableFileError,
)
from singsong.transforms.folder_walk import is_debris, walk_local

_LISTING_NAME = "listing"


def list_source_files(url: str, *, only_files: bool = False) -> Iterator[SourceFile]:
    """Yields each file that a file, folder, glob or fsspec URL names.

    What operating systems leave in folders is yielded as debris, and a folder of this machine that
    cannot be read with its problem; see `SourceFile`. What is named itself is never debris.

    Args:
        url: The name.
        only_files: Take the name as that of one file, or of a folder of this machine, without
            checking that it exists.

    Raises:
        FileNotFoundError: Nothing has that name.
        OSError: The machine is in trouble, or a store cannot be listed.
    """
    local = storage.is_local(url)
    if only_files and not (local and os.path.isdir(storage.local_path(url))):
        yield SourceFile(uri=url, size_bytes=_local_size(url) if local else 0)
    elif local:
        yield from walk_local(storage.local_path(url))
    else:
        yield from _list_store(url)


def _list_store(url: str) -> Iterator[SourceFile]:
    found = storage.find_objects(url)
    if not found:
        raise FileNotFoundError(f"{url} names no file")
    named = _before_magic(url)
    for uri, size_bytes in found:
        below = uri.split("/")[named.count("/") + 1 :]
        yield SourceFile(uri=uri, size_bytes=size_bytes, debris=int(any(map(is_debris, below))))


def _local_size(url: str) -> int:
    try:
        return os.stat(storage.local_path(url)).st_size
    except OSError:
        return 0  # hashing the file reports what is wrong


def _before_magic(url: str) -> str:
    """Returns the folders of a glob that hold no wildcard; the whole URL where there is none."""
    parts = url.rstrip("/").split("/")
    magic = (number for number, part in enumerate(parts) if glob.has_magic(part))
    return "/".join(parts[: next(magic, len(parts))])


def preferred(found: Iterable[SourceFile]) -> SourceFile:
    """Returns one of the entries of the same name: one to use before debris."""
    return min(found, key=lambda file: (file.debris, -file.size_bytes, file.problem))


def write_listing(files: Iterable[SourceFile], folder: str | None) -> str | None:
    """Writes files that were listed to a folder, for `read_listing`, and returns its path.

    Args:
        files: What was listed.
        folder: A folder of this machine that the workers share; None writes nothing.
    """
    if folder is None:
        return None
    path = os.path.join(folder, _LISTING_NAME)
    with open(path, "w", encoding="ascii") as listing:
        listing.writelines(f"{json.dumps(asdict(file))}\n" for file in files)
    return path


def read_listing(path: str) -> Iterator[SourceFile]:
    """Yields the files of a listing."""
    with open(path, encoding="ascii") as listing:
        for line in listing:
            yield SourceFile(**json.loads(line))


def names_a_file(url: str) -> bool:
    """Returns whether at least one file has this name, without listing a whole bucket."""
    if not storage.is_local(url) and not glob.has_magic(url):
        return storage.exists(url)
    try:
        return any(not file.debris for file in list_source_files(url))
    except FileNotFoundError:
        return False


def unreadable(error: OSError) -> ClipError | OSError:
    """Returns what to raise when a file cannot be read.

    Trouble of the machine, or of a store that does not answer, says nothing about the file. It
    propagates, so that the runner retries or stops, instead of giving up one file after another.
    """
    if storage.is_machine_trouble(error):
        return error
    return UnreadableFileError(f"the file cannot be read: {error.strerror or error}")


def identify(file: SourceFile) -> Track:
    """Returns the track in a file, named by its content.

    Raises:
        UnreadableFileError: The file is missing, or may not be read.
        EmptyFileError: It has no bytes.
        OSError: The machine is in trouble, or the store does not answer.
    """
    if file.problem:
        raise UnreadableFileError(file.problem)
    try:
        if storage.is_local(file.uri) and not _is_regular(storage.local_path(file.uri)):
            raise UnreadableFileError("it is a folder or a device, not a file")
        digest, size = storage.sha256_of(file.uri)
    except OSError as error:
        raise unreadable(error) from error
    if not size:
        raise EmptyFileError("the file has no bytes")
    return Track(track_id=digest, uri=file.uri, size_bytes=size)


def _is_regular(path: str) -> bool:
    return stat.S_ISREG(os.stat(path).st_mode)


@contextmanager
def local_track(track: Track) -> Iterator[str]:
    """Yields a local file name with the bytes of a track: the file itself, or a scratch copy.

    Raises:
        UnreadableFileError: The file is gone, or cannot be read any more.
        OSError: The machine is in trouble, or the store does not answer.
    """
    with ExitStack() as stack:
        try:
            local = stack.enter_context(storage.local_copy(track.place))
        except OSError as error:
            raise unreadable(error) from error
        yield local


def check_content(track: Track, path: str) -> None:
    """Checks that a local copy still holds the bytes that named the track.

    Raises:
        ContentChangedError: It does not.
        UnreadableFileError: It cannot be read.
        OSError: The machine is in trouble.
    """
    try:
        digest, _ = storage.sha256_of(path)
    except OSError as error:
        raise unreadable(error) from error
    if digest != track.track_id:
        raise ContentChangedError("the file changed while the job ran")
