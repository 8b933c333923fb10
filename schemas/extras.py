"""Names the extra to install when a library is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from singsong.schemas.errors import SingsongError

_EXTRA_OF: Mapping[str, str] = {
    "ai_edge_litert": "lyra",
    "gcsfs": "gcp",
    "google": "gcp",
    "onnxruntime": "mdx",
    "s3fs": "s3",
}
"""Libraries that one extra alone brings, whatever the feature that wants them."""


class MissingLibraryError(SingsongError, ImportError):
    """A library is not installed; the message names the extra that brings it."""


@contextmanager
def extra_needed(extra: str, *, by: str) -> Iterator[None]:
    """Turns the failed import of a library into a sentence that says what to install.

    Args:
        extra: The extra of this package that brings what the block imports.
        by: What needs it, as the user calls it.

    Raises:
        MissingLibraryError: The block imported a library that is not installed.

    >>> try:
    ...     with extra_needed("train", by="singsong train"):
    ...         import a_library_that_nobody_has
    ... except MissingLibraryError as error:
    ...     print(error)
    singsong train needs a_library_that_nobody_has, which is not installed: \
pip install 'singsong[train]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "singsong"):
            raise
        raise MissingLibraryError(missing_sentence(library, extra=extra, by=by)) from error


def missing_sentence(library: str, *, extra: str, by: str) -> str:
    """Returns what to tell the user about a library that is not installed.

    >>> missing_sentence("gcsfs", extra="prepare", by="gs://bucket/music")
    "gs://bucket/music needs gcsfs, which is not installed: pip install 'singsong[gcp]'"
    """
    extra = _EXTRA_OF.get(library, extra)
    return f"{by} needs {library}, which is not installed: pip install 'singsong[{extra}]'"
