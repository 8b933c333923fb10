"""Errors of object stores in one sentence, whichever client library raised them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum


class Access(StrEnum):
    """What is done to an object, as the participle used in messages."""

    LIST = "listed"
    READ = "read"
    REMOVE = "removed"
    WRITE = "written"


_PERMISSIONS = {
    "gs": {
        Access.LIST: "storage.objects.list",
        Access.READ: "storage.objects.get",
        Access.REMOVE: "storage.objects.delete",
        Access.WRITE: "storage.objects.create and storage.objects.delete",
    },
    "s3": {
        Access.LIST: "s3:ListBucket",
        Access.READ: "s3:GetObject",
        Access.REMOVE: "s3:DeleteObject",
        Access.WRITE: "s3:PutObject",
    },
}
_ALIASES = {"gcs": "gs", "s3a": "s3"}
_CLIENTS = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "requests", "s3fs")
_NO_CREDENTIALS = ("CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError")
_LOST = (400, 410)
_BUSY = (errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO))


class StoreError(OSError):
    """A request to an object store failed."""


class StoreMissingError(StoreError, FileNotFoundError):
    """The object or its bucket does not exist."""


class StoreDeniedError(StoreError, PermissionError):
    """The credentials do not allow it, or there are none."""


class StoreUnavailableError(StoreError):
    """The store did not answer, or failed, in every attempt of its client library."""


@contextmanager
def translate_store_errors(url: str, access: Access) -> Iterator[None]:
    """Translates errors of client libraries into the errors above; others propagate.

    Args:
        url: The object or folder in use.
        access: What is done to it.

    Raises:
        StoreMissingError: The object or the bucket does not exist.
        StoreDeniedError: The credentials do not allow it.
        StoreUnavailableError: The store does not answer.
    """
    try:
        yield
    except StoreError:
        raise
    # The errors of client libraries share no base class, and the libraries may not be installed.
    except Exception as error:
        translated = _translate(error, url=url, access=access)
        if translated is None:
            raise
        raise translated from error


def bucket_of(url: str) -> str:
    """Returns the URL of the bucket that an object is in.

    >>> bucket_of("gs://music/a/b.wav")
    'gs://music'
    """
    protocol, _, path = url.partition("://")
    return f"{protocol}://{path.partition('/')[0]}"


def is_lost_upload(error: Exception) -> bool:
    """Returns whether an upload must start again: store and client disagree on its progress.

    This happens when the response to a block was lost, or when the store dropped an upload that
    took too long. A missing bucket looks the same.
    """
    return isinstance(error, FileNotFoundError) or getattr(error, "code", None) in _LOST


def _translate(error: Exception, *, url: str, access: Access) -> StoreError | None:
    if isinstance(error, FileNotFoundError):
        missing = url if access is Access.READ else f"the bucket {bucket_of(url)}"
        return StoreMissingError(f"{missing} does not exist")
    if _is_denied(error):
        return StoreDeniedError(
            f"{url} may not be {access}: the credentials in use lack "
            f"{_permission(url, access)} on {bucket_of(url)} ({_last_line(error)})"
        )
    if _is_failure(error):
        return StoreUnavailableError(
            f"{url} could not be {access}: {bucket_of(url)} does not answer, or fails in every "
            f"attempt ({_last_line(error)})"
        )
    return None


def _is_denied(error: Exception) -> bool:
    kind = type(error)
    return (
        isinstance(error, PermissionError)
        or _is_forbidden_by_gcsfs(error)
        or getattr(error, "code", None) in (401, 403)
        or kind.__name__ in _NO_CREDENTIALS
        or (kind.__module__.startswith("google.auth") and kind.__name__ != "TransportError")
    )


def _is_forbidden_by_gcsfs(error: Exception) -> bool:
    """Returns whether gcsfs got status 403, the only one for which it raises a bare `OSError`.

    See `gcsfs.retry.validate_response`; the error itself holds no status.
    """
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    raised_in = frame.tb_frame.f_globals.get("__name__") if frame is not None else None
    return type(error) is OSError and raised_in == "gcsfs.retry"


def _is_failure(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _BUSY:
        return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return type(error).__module__.partition(".")[0] in _CLIENTS


def _permission(url: str, access: Access) -> str:
    protocol = url.partition("://")[0]
    known = _PERMISSIONS.get(_ALIASES.get(protocol, protocol), {})
    return known.get(access, "the right")


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
