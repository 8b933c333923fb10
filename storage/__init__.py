"""Objects and files, on a local disk or behind any fsspec URL; errors in plain words."""

from singsong.storage.copies import local_copy, local_folder
from singsong.storage.errors import (
    StoreDeniedError,
    StoreError,
    StoreMissingError,
    StoreUnavailableError,
)
from singsong.storage.filesystems import filesystem
from singsong.storage.machine_trouble import is_machine_trouble, with_advice
from singsong.storage.objects import (
    check_place,
    exists,
    find_objects,
    is_temporary,
    list_files,
    open_read,
    read_bytes,
    read_ranges,
    remove,
    sha256_of,
    size_of,
)
from singsong.storage.urls import TEMPORARY_PREFIX, is_local, join, local_path, url_of
from singsong.storage.writing import HashingFile, put_bytes, put_file, spooled_file

__all__ = [
    "TEMPORARY_PREFIX",
    "HashingFile",
    "StoreDeniedError",
    "StoreError",
    "StoreMissingError",
    "StoreUnavailableError",
    "check_place",
    "exists",
    "filesystem",
    "find_objects",
    "is_local",
    "is_machine_trouble",
    "is_temporary",
    "join",
    "list_files",
    "local_copy",
    "local_folder",
    "local_path",
    "open_read",
    "put_bytes",
    "put_file",
    "read_bytes",
    "read_ranges",
    "remove",
    "sha256_of",
    "size_of",
    "spooled_file",
    "url_of",
    "with_advice",
]
