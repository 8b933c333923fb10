"""The files below a folder, or those that a glob matches; nothing is passed over silently."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Sequence

from singsong import storage
from singsong.schemas.elements import SourceFile

DEBRIS = (
    "._*",
    ".ds_store",
    ".trash*",
    ".spotlight-v100",
    ".fseventsd",
    ".git",
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "thumbs.db",
    "desktop.ini",
)
"""Names, in lower case, of what operating systems leave in folders."""


def is_debris(name: str) -> bool:
    """Returns whether a file or folder of this name was left by an operating system.

    >>> is_debris("Thumbs.db"), is_debris("._a.wav"), is_debris("...And Justice for All")
    (True, True, False)
    """
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in DEBRIS)


def walk_local(path: str) -> Iterator[SourceFile]:
    """Yields what a local file, folder or glob names, sorted within each folder.

    A link to a file counts as a file, and a link to a folder as that folder. No folder is entered
    twice, so the walk ends even where links form a loop. A folder that cannot be read is yielded
    with its problem, and debris with the number of its files.

    Raises:
        FileNotFoundError: Nothing has that name.
        OSError: The machine is in trouble, see `storage.is_machine_trouble`.
    """
    if os.path.lexists(path):
        yield from _walk(path) if os.path.isdir(path) else [_source_file(path)]
        return
    found = False
    if glob.has_magic(path):
        top, pattern = _split_glob(path)
        for file in _walk(top, pattern) if os.path.isdir(top) else ():
            found = True
            yield file
    if not found:
        raise FileNotFoundError(f"{storage.url_of(path)} names no file")


def _split_glob(path: str) -> tuple[str, list[str]]:
    """Returns the folder above the first wildcard, and the names below it."""
    names = path.split("/")
    first = next(number for number, name in enumerate(names) if glob.has_magic(name))
    top = "/".join([*names[:first], ""]) or os.curdir
    return top, [name for name in names[first:] if name]


def _walk(top: str, pattern: Sequence[str] = ()) -> Iterator[SourceFile]:
    """Yields what lies below a folder; with a pattern, what matches it or lies in what does."""
    start = _closure({0}, pattern)
    matched = {top: start}
    entered = {(os.path.realpath(top), start)}
    problems: list[OSError] = []
    for folder, folders, files in os.walk(top, followlinks=True, onerror=problems.append):
        yield from map(_unreadable, problems)
        problems.clear()
        here, inside = matched.pop(folder), sorted(folders)
        folders.clear()
        for name in inside:
            path, after = os.path.join(folder, name), advance(here, name, pattern)
            if after and is_debris(name):
                yield from _debris(path)
            elif after and (key := (os.path.realpath(path), after)) not in entered:
                entered.add(key)
                matched[path] = after
                folders.append(name)
        for name in sorted(files):
            if len(pattern) in advance(here, name, pattern):
                path = os.path.join(folder, name)
                yield from _debris(path) if is_debris(name) else [_source_file(path)]
    yield from map(_unreadable, problems)


def advance(matched: frozenset[int], name: str, pattern: Sequence[str]) -> frozenset[int]:
    """Returns how much of a glob a path can match, one name further; nothing if it cannot match.

    Args:
        matched: How many names of the glob the path so far can match.
        name: The next name of the path.
        pattern: The names of the glob; "**" stands for any number of folders.

    >>> some = advance(frozenset({0}), "a", ["*", "*.wav"])
    >>> sorted(some), sorted(advance(some, "b.wav", ["*", "*.wav"]))
    ([1], [2])
    """
    after = set()
    for at in matched:
        if at == len(pattern) or pattern[at] == "**":  # lies in what matched, or in any folder
            after.add(at)
        elif fnmatch.fnmatchcase(name, pattern[at]):
            after.add(at + 1)
    return _closure(after, pattern)


def _closure(matched: set[int], pattern: Sequence[str]) -> frozenset[int]:
    """Adds what "**" matches without a folder."""
    for at, name in enumerate(pattern):
        if at in matched and name == "**":
            matched = {*matched, at + 1}
    return frozenset(matched)


def _source_file(path: str) -> SourceFile:
    absolute = os.path.abspath(path)
    try:
        size = os.stat(absolute).st_size
    except OSError:
        size = 0  # hashing the file reports what is wrong
    return SourceFile(uri=storage.url_of(absolute), size_bytes=size)


def _debris(path: str) -> Iterator[SourceFile]:
    """Yields an entry with the number of files, of a folder those below it; none if it is empty."""
    files = 1
    if os.path.isdir(path):
        hidden: list[OSError] = []
        files = sum(len(names) for _, _, names in os.walk(path, onerror=hidden.append))
        files += len(hidden)  # at least one in each folder that cannot be read
    if files:
        yield SourceFile(uri=storage.url_of(os.path.abspath(path)), size_bytes=0, debris=files)


def _unreadable(error: OSError) -> SourceFile:
    if storage.is_machine_trouble(error):
        raise error
    return SourceFile(
        uri=storage.url_of(os.path.abspath(os.fsdecode(error.filename))),
        size_bytes=0,
        problem=f"the folder cannot be read: {error.strerror or error}",
    )
