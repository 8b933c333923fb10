"""What went wrong at an object store, in one sentence, whichever library talks to it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_PERMISSIONS = {
    "gs": {
        "listed": "storage.objects.list",
        "read": "storage.objects.get",
        "removed": "storage.objects.delete",
        "written": "storage.objects.create and storage.objects.delete",
    },
    "s3": {
        "listed": "s3:ListBucket",
        "read": "s3:GetObject",
        "removed": "s3:DeleteObject",
        "written": "s3:PutObject",
    },
}
_ALIASES = {"gcs": "gs", "s3a": "s3"}
_CLIENTS = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "s3fs")
_NO_CREDENTIALS = ("CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError")
_LOST = (400, 410)
_BUSY = (errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO))


class StoreError(OSError):
    """An object store did not do what was asked."""


class StoreMissingError(StoreError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class StoreDeniedError(StoreError, PermissionError):
    """The credentials do not allow it, or there are none."""


class StoreUnavailableError(StoreError):
    """The store gave no answer, or failed, in every try of its client library."""


@contextmanager
def told_plainly(url: str, what: str) -> Iterator[None]:
    """Turns what a client library raises into one of the errors above; others pass.

    Args:
        url: What is worked on.
        what: "listed", "read", "written" or "removed".

    Raises:
        StoreMissingError: The object or the bucket is not there.
        StoreDeniedError: The credentials do not allow it.
        StoreUnavailableError: The store does not answer.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        plain = _plain(error, url=url, what=what)
        if plain is None:
            raise
        raise plain from error


def bucket_of(url: str) -> str:
    """Returns the URL of the bucket that an object is in.

    >>> bucket_of("gs://music/a/b.wav")
    'gs://music'
    """
    protocol, _, path = url.partition("://")
    return f"{protocol}://{path.partition('/')[0]}"


def is_lost_upload(error: Exception) -> bool:
    """Returns whether store and client disagree on how far an upload is: it is to be begun again.

    So it is when the answer to a block was lost, or the store forgot an upload that took too long.
    A bucket that is not there looks the same.
    """
    return isinstance(error, FileNotFoundError) or getattr(error, "code", None) in _LOST


def _plain(error: Exception, *, url: str, what: str) -> StoreError | None:
    if isinstance(error, FileNotFoundError):
        missing = url if what == "read" else f"the bucket {bucket_of(url)}"
        return StoreMissingError(f"{missing} does not exist")
    if _is_denied(error):
        return StoreDeniedError(
            f"{url} may not be {what}: the credentials in use lack "
            f"{_permission(url, what)} on {bucket_of(url)} ({_last_line(error)})"
        )
    if _is_failure(error):
        return StoreUnavailableError(
            f"{url} could not be {what}: {bucket_of(url)} does not answer, or fails in every try "
            f"({_last_line(error)})"
        )
    return None


def _is_denied(error: Exception) -> bool:
    kind = type(error)
    return (
        isinstance(error, PermissionError)
        or (isinstance(error, OSError) and str(error).startswith("Forbidden"))  # gcsfs
        or getattr(error, "code", None) in (401, 403)
        or kind.__name__ in _NO_CREDENTIALS
        or (kind.__module__.startswith("google.auth") and kind.__name__ != "TransportError")
    )


def _is_failure(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _BUSY:
        return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return type(error).__module__.partition(".")[0] in _CLIENTS


def _permission(url: str, what: str) -> str:
    protocol = url.partition("://")[0]
    known = _PERMISSIONS.get(_ALIASES.get(protocol, protocol), {})
    return known.get(what, "the right")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
