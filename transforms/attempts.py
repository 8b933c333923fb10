"""Counts how often the work on a track was begun and never ended, over runs and machines.

A crash of a library, or the system, can end the whole process. What is left is a small file beside
the result of the track: a line with the number of such starts, and the traceback of the last error
that the process survived. It goes when the work ends well.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from singsong import storage
from singsong.schemas.errors import CrashedError
from singsong.schemas.text import printable

SUFFIX = ".attempts"
MAX_STARTS = 2
"""After as many starts without an end, a track is given up."""

_MAX_MESSAGE = 300
_DOOR = threading.Lock()
_ENDED = threading.Condition()
_INSIDE: dict[object, str] = {}
"""The results that the threads of this process work on."""


@contextmanager
def counted_attempt(result: str) -> Iterator[None]:
    """Marks the work on a track as begun for as long as the context runs.

    A track whose last start did not end is worked on alone in its process, so that only the one
    that ends the process is counted again, and not its neighbours.

    Args:
        result: Path or URL of what the work makes; the file of attempts lies beside it.

    Raises:
        CrashedError: It was begun too often; or the work raised it, and its cause is kept.
        OSError: The file of attempts cannot be written.
    """
    starts = _starts(result)
    if starts >= MAX_STARTS:
        _write(result, MAX_STARTS + 1)  # tells `give_another_chance` that it was given up
        raise CrashedError(
            f"the process ended in the middle of this file, {MAX_STARTS} times: a library crashed, "
            "or the system ended it for its memory; `singsong retry` tries again"
        )
    with _inside(result, alone=starts > 0):
        _write(result, starts + 1)
        try:
            yield
        except CrashedError as error:
            _write(result, 0, "".join(traceback.format_exception(error)))
            raise
        except BaseException:
            with suppress(OSError):  # the error above is the one to report
                _write(result, starts)
            raise
        _write(result, 0)


def crashed(error: Exception, result: str) -> CrashedError:
    """Returns the error of a track that failed twice in a way that nobody foresaw.

    Args:
        error: The second failure.
        result: As for `counted_attempt`.
    """
    text = printable(f"{type(error).__name__}: {error}")[:_MAX_MESSAGE]
    return CrashedError(f"{text}; the traceback is in {printable(result + SUFFIX)}")


def give_another_chance(result: str) -> None:
    """Forgets the starts of a track that was given up; those since then go on counting.

    Raises:
        OSError: The file of attempts cannot be read or removed.
    """
    if _starts(result) > MAX_STARTS:
        storage.remove(result + SUFFIX)


def forget_attempts() -> None:
    """Takes back the starts of this process, which the user ends: its tracks are not to blame."""
    for result in list(_INSIDE.values()):
        with suppress(OSError):
            _write(result, max(0, _starts(result) - 1))


def _starts(result: str) -> int:
    try:
        text = storage.read_bytes(result + SUFFIX).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return 0
    first = text.partition("\n")[0]
    return int(first) if first.isdecimal() else 0


def _write(result: str, starts: int, trace: str = "") -> None:
    """Puts the file of attempts; without a start and a traceback there is none."""
    url = result + SUFFIX
    if not starts and not trace:
        storage.remove(url)
        return
    data = f"{starts}\n{trace}".encode(errors="backslashreplace")
    if not storage.is_local(url):
        storage.put_bytes(url, data)
        return
    # A file that is lost with the power, or half written, counts no start: no need to sync.
    path = storage.local_path(url)
    os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


@contextmanager
def _inside(result: str, *, alone: bool) -> Iterator[None]:
    """Lets many threads work at once; one that works alone waits for all, and lets nobody begin."""
    me = object()
    with ExitStack() as door:
        door.enter_context(_DOOR)
        with _ENDED:
            _ENDED.wait_for(lambda: not (alone and _INSIDE))
            _INSIDE[me] = result
        if not alone:
            door.close()
        try:
            yield
        finally:
            with _ENDED:
                del _INSIDE[me]
                _ENDED.notify_all()
