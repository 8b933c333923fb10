"""The fsspec file system behind a URL, with its errors translated.

The client libraries, gcsfs and s3fs, retry transient errors with growing delays.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import fsspec

from singsong.storage.errors import Access, translate_store_errors
from singsong.storage.urls import is_local, local_path

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 8 << 20
_STORES = ("gs", "gcs", "s3", "s3a")


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
        # `url_to_fs` gives `#1`, `?versionId=` and `::` a meaning, but here they belong to names.
        # fsspec caches listings, which would hide what other processes write.
        fs = fsspec.filesystem(protocol, version_aware=False, use_listings_cache=False)
    except ImportError as error:
        extras = {"gs": "gcp", "gcs": "gcp", "s3": "s3", "s3a": "s3"}
        extra = f": pip install 'singsong[{extras[protocol]}]'" if protocol in extras else ""
        raise ValueError(f"{url} needs a package that is not installed{extra} ({error})") from error
    return fs, fs._strip_protocol(url)


def translated_errors(url: str, access: Access) -> AbstractContextManager[None]:
    """Returns `translate_store_errors` for a store; local errors stay as they are."""
    return nullcontext() if is_local(url) else translate_store_errors(url, access)
