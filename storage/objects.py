"""Puts and reads whole objects, on a local disk or any fsspec URL.

An object appears whole or not at all. On a local disk it is written under a temporary name and
renamed; an object store shows an upload only when it is complete, and a rename there is a copy that
can fail half-way, so there it is put straight to its name.

Objects stream through memory in blocks. Requests that fail for the moment are tried again by the
client libraries, gcsfs and s3fs, with longer and longer waits.
"""

from __future__ import annotations

import glob
import hashlib
import os
import posixpath
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote_to_bytes

import fsspec
from fsspec.spec import AbstractBufferedFile

from singsong.storage.errors import is_lost_upload, told_plainly

TEMPORARY_PREFIX = ".tmp-"
_CHUNK_BYTES = 1 << 20
_ONE_REQUEST_BYTES = 4 << 20
_BLOCK_BYTES = 8 << 20
_UPLOAD_TRIES = 3
_STORES = ("gs", "gcs", "s3", "s3a")


def is_local(url: str) -> bool:
    """Returns whether a path or URL names a file of this machine.

    >>> is_local("music/a.wav"), is_local("file:///a.wav"), is_local("gs://bucket/a.wav")
    (True, True, False)
    """
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> str:
    """Returns the file name behind a local path or file URL; it may hold surrogate escapes.

    >>> local_path("file:///music/caf%C3%A9.wav")
    '/music/café.wav'
    """
    if url.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(url[len("file://") :]))
    return url


def url_of(path: str) -> str:
    r"""Returns how a local file is written down: as it is, or as a URL if it is not UTF-8.

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


def filesystem(url: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a URL and the path of the URL in it.

    Raises:
        ValueError: The kind of URL is unknown, or the package for it is not installed.
    """
    if is_local(url):
        return fsspec.filesystem("file"), os.path.abspath(local_path(url))
    protocol = url.partition("://")[0]
    try:
        if protocol not in _STORES:
            fs, path = fsspec.core.url_to_fs(url)
            return fs, path
        # In a URL, `#1`, `?versionId=` and `::` would mean something else than a name. What others
        # write shows at once only without the cache of listings.
        fs = fsspec.filesystem(protocol, version_aware=False, use_listings_cache=False)
    except ImportError as error:
        extra = ": pip install 'singsong[s3]'" if protocol.startswith("s3") else ""
        raise ValueError(f"{url} needs a package that is not installed{extra} ({error})") from error
    return fs, fs._strip_protocol(url)


def exists(url: str) -> bool:
    """Returns whether there is an object of that name.

    Raises:
        OSError: The store does not say.
    """
    fs, path = filesystem(url)
    with _plain(url, "read"):
        try:
            fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True


@contextmanager
def open_read(url: str) -> Iterator[Any]:
    """Yields an object, opened for reading bytes.

    Raises:
        FileNotFoundError: There is none of that name.
        OSError: It may not be read, or the store does not answer.
    """
    fs, path = filesystem(url)
    blocks = {} if is_local(url) else {"block_size": _BLOCK_BYTES, "cache_type": "readahead"}
    with _plain(url, "read"), fs.open(path, "rb", **blocks) as file:
        yield file


def read_bytes(url: str) -> bytes:
    """Returns all bytes of an object. Raises as `open_read`."""
    with open_read(url) as file:
        data: bytes = file.read()
    return data


def list_files(folder: str) -> list[str]:
    """Returns the paths below a folder, relative to it and sorted; none if it is not there.

    Raises:
        OSError: The bucket is not there, it may not be listed, or the store does not answer.
    """
    fs, root = filesystem(folder)
    with _plain(folder, "listed"):
        found = fs.find(root, detail=True)
    paths = (path for path, info in found.items() if not _is_folder(info))
    return sorted(posixpath.relpath(path, root) for path in paths)


def is_temporary(path: str) -> bool:
    """Returns whether a file is one that `put_file` had not finished when it was killed."""
    return posixpath.basename(path).startswith(TEMPORARY_PREFIX)


def find_objects(url: str) -> list[tuple[str, int]]:
    """Returns URL and size of each object that a name, a folder or a glob of a store stands for.

    Raises:
        OSError: As for `list_files`.
    """
    fs, path = filesystem(url)
    with _plain(url, "listed"):
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
    """Returns whether an entry is a folder, or the empty object that a console makes for one."""
    return info["type"] != "file" or (info["name"].endswith("/") and not info["size"])


def check_place(url: str) -> None:
    """Checks that objects could be put to a URL: the bucket is there and may be listed.

    Raises:
        OSError: It is not so.
    """
    if not is_local(url):
        list_files(join(url, TEMPORARY_PREFIX))


def remove(url: str) -> None:
    """Removes an object; that there is none is no error.

    Raises:
        OSError: It may not be removed.
    """
    fs, path = filesystem(url)
    with suppress(FileNotFoundError), _plain(url, "removed"):
        fs.rm_file(path)


def _plain(url: str, what: str) -> AbstractContextManager[None]:
    return nullcontext() if is_local(url) else told_plainly(url, what)


class HashingFile:
    """Counts and hashes what is written through it, so that nothing is read back for it."""

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
        """Flushes the file below."""
        self._file.flush()

    def close(self) -> None:
        """Marks the end; the file below is closed by who opened it."""
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
        """Hex digest of what was written so far."""
        return self._sha256.hexdigest()


@contextmanager
def spooled_file() -> Iterator[BinaryIO]:
    """Yields a scratch file, removed at the end, for an object whose name is not known yet."""
    with tempfile.TemporaryFile(prefix="singsong-") as file:
        yield file


def put_file(url: str, source: BinaryIO) -> None:
    """Puts the content of a file to a URL, whole or not at all.

    Args:
        url: Where to.
        source: Read from its start.

    Raises:
        OSError: The disk is full, or the place cannot be written. Nothing is left under `url`
            that was not there before.
    """
    source.seek(0)
    fs, path = filesystem(url)
    if not is_local(url):
        with _plain(url, "written"):
            _upload(fs, path, source)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as target:
            shutil.copyfileobj(source, target, _CHUNK_BYTES)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _upload(fs: Any, path: str, source: BinaryIO) -> None:
    small = source.read(_ONE_REQUEST_BYTES)
    if len(small) < _ONE_REQUEST_BYTES:
        fs.pipe_file(path, small)
        return
    for tries_left in reversed(range(_UPLOAD_TRIES)):
        try:
            _upload_blocks(fs, path, source)
            return
        except Exception as error:
            if not tries_left or not is_lost_upload(error):
                raise


def _upload_blocks(fs: Any, path: str, source: BinaryIO) -> None:
    source.seek(0)
    target = fs.open(path, "wb", block_size=_BLOCK_BYTES)
    try:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
        target.close()
    except BaseException:
        _abandon(target)
        raise


def _abandon(target: Any) -> None:
    """Ends an upload that failed: closing the file would make an object of what it holds."""
    if isinstance(target, AbstractBufferedFile):
        # What the store keeps of it is never shown, so that the first failure is what to tell.
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


def sha256_of(url: str) -> tuple[str, int]:
    """Returns the hex sha256 and the number of bytes of an object.

    Raises:
        OSError: It is missing, or may not be read.
    """
    digest, size = hashlib.sha256(), 0
    with open_read(url) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


@contextmanager
def local_copy(url: str) -> Iterator[str]:
    """Yields a local file name with the content of `url`: the file itself, or a scratch copy.

    Raises:
        OSError: It is missing, or may not be read.
    """
    if is_local(url):
        yield local_path(url)
        return
    with tempfile.NamedTemporaryFile(prefix="singsong-") as copy:
        with open_read(url) as source:
            shutil.copyfileobj(source, copy, _CHUNK_BYTES)
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
