"""Reads, lists and removes objects, on a local disk or behind any fsspec URL."""

from __future__ import annotations

import glob
import hashlib
import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from singsong.storage.errors import Access
from singsong.storage.filesystems import BLOCK_BYTES, CHUNK_BYTES, filesystem, translated_errors
from singsong.storage.urls import TEMPORARY_PREFIX, is_local, join


def exists(url: str) -> bool:
    """Returns whether an object of that name exists.

    Raises:
        OSError: The store does not answer, or access is denied.
    """
    fs, path = filesystem(url)
    with translated_errors(url, Access.READ):
        try:
            fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


@contextmanager
def open_read(url: str) -> Iterator[Any]:
    """Yields a file-like object that reads the bytes of an object.

    Raises:
        FileNotFoundError: The object does not exist.
        OSError: Access is denied, or the store does not answer.
    """
    fs, path = filesystem(url)
    blocks = {} if is_local(url) else {"block_size": BLOCK_BYTES, "cache_type": "readahead"}
    with translated_errors(url, Access.READ), fs.open(path, "rb", **blocks) as file:
        yield file


def read_bytes(url: str) -> bytes:
    """Returns all bytes of an object. Raises as `open_read`."""
    with open_read(url) as file:
        data: bytes = file.read()
    return data


def size_of(url: str) -> int:
    """Returns the number of bytes of an object. Raises as `open_read`."""
    fs, path = filesystem(url)
    with translated_errors(url, Access.READ):
        return int(fs.info(path)["size"])


def read_ranges(url: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Returns parts of an object, each fetched by a request of its own.

    Args:
        url: The object.
        ranges: First byte and end of each part.

    Raises:
        OSError: As `open_read`, or the object ends before a part does.
    """
    fs, path = filesystem(url)
    starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
    with translated_errors(url, Access.READ):
        parts: list[bytes] = fs.cat_ranges([path] * len(ranges), starts, ends, on_error="raise")
    if any(len(part) != end - start for part, (start, end) in zip(parts, ranges, strict=True)):
        raise OSError(f"{url} is shorter than expected")
    return parts


def list_files(folder: str) -> list[str]:
    """Returns the paths below a folder, relative to it and sorted; none if it does not exist.

    Raises:
        OSError: The bucket does not exist, listing is denied, or the store does not answer.
    """
    fs, root = filesystem(folder)
    with translated_errors(folder, Access.LIST):
        found = fs.find(root, detail=True)
    paths = (path for path, info in found.items() if not _is_folder(info))
    return sorted(posixpath.relpath(path, root) for path in paths)


def is_temporary(path: str) -> bool:
    """Returns whether a file was left by a `put_file` that was killed."""
    return posixpath.basename(path).startswith(TEMPORARY_PREFIX)


def find_objects(url: str) -> list[tuple[str, int]]:
    """Returns URL and size of each object that a name, folder or glob in a store matches.

    Raises:
        OSError: As for `list_files`.
    """
    fs, path = filesystem(url)
    with translated_errors(url, Access.LIST):
        found = fs.find(path, detail=True)
        if not found and glob.has_magic(path):
            for info in fs.glob(path, detail=True).values():
                below = fs.find(info["name"], detail=True) if _is_folder(info) else {}
                found.update(below or {info["name"]: info})
    return [
        (fs.unstrip_protocol(info["name"]), info["size"] or 0)
        for info in found.values()
        if not _is_folder(info)
    ]


def _is_folder(info: dict[str, Any]) -> bool:
    """Returns whether an entry is a folder, or the empty object that consoles make for one."""
    return info["type"] != "file" or (info["name"].endswith("/") and not info["size"])


def check_place(url: str) -> None:
    """Checks that the bucket of a URL exists and may be listed.

    Raises:
        OSError: It does not exist, listing is denied, or the store does not answer.
    """
    if not is_local(url):
        list_files(join(url, TEMPORARY_PREFIX))


def remove(url: str) -> None:
    """Removes an object if it exists.

    Raises:
        OSError: Removing it is denied, or the store does not answer.
    """
    fs, path = filesystem(url)
    with suppress(FileNotFoundError), translated_errors(url, Access.REMOVE):
        fs.rm_file(path)


def sha256_of(url: str) -> tuple[str, int]:
    """Returns the hex sha256 and the number of bytes of an object.

    Raises:
        OSError: It does not exist, access is denied, or the store does not answer.
    """
    digest, size = hashlib.sha256(), 0
    with open_read(url) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
