"""What the person who waits sees of a job, and how they stop it: the same for every runner."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr
from pathlib import Path

from singsong.runners.errors import STOPPED_EXIT_CODE, JobFailedError, JobStoppedError
from singsong.runners.job import first_cause
from singsong.transforms.progress import STOP_NAME

_STDERR = 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOGGER = logging.getLogger(__name__)


@contextmanager
def attended(
    watch: Callable[[Path], AbstractContextManager[object]],
    *,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Path]:
    """Yields a scratch folder for the progress of a job, and tells in one line how the job failed.

    Beam prints the traceback of each failing worker; here the first cause is told instead, and the
    tracebacks are logged for `singsong --debug`. The first Ctrl-C leaves the file `STOP_NAME` in
    the folder, which workers of this machine heed at their next clip; the second ends at once.

    Args:
        watch: Returns what shows the progress that the folder tells, until it is closed.
        stop: Called at the first Ctrl-C, from another thread; for workers that do not see the
            folder.

    Raises:
        JobStoppedError: Ctrl-C.
        JobFailedError: What runs in the context failed.
    """
    folder = Path(tempfile.mkdtemp(prefix="singsong-progress-"))
    complaints = folder / "stderr.txt"

    def tell_to_stop() -> None:
        (folder / STOP_NAME).touch()
        stop()

    try:
        with _calling_on_interrupt(tell_to_stop), watch(folder), _stderr_to(complaints):
            yield folder
    except Exception as error:
        if (folder / STOP_NAME).exists():
            raise JobStoppedError("stopped") from None
        _LOGGER.debug(
            "the pipeline failed: %s", complaints.read_text(errors="replace"), exc_info=True
        )
        raise JobFailedError(first_cause(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Sends what this process, its C libraries and its children print as errors to a file."""
    sys.stderr.flush()
    terminal = os.dup(_STDERR)
    with path.open("w", encoding="utf-8") as file, redirect_stderr(file):
        os.dup2(file.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(terminal, _STDERR)
            os.close(terminal)


@contextmanager
def _calling_on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Lets the first Ctrl-C call a function, the second end at once.

    A terminal sends Ctrl-C to worker processes too, and Beam waits for ever for one that died of
    it. They inherit the mask of the thread that starts them, so that they do not hear it; here a
    thread that was started before the mask does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ears, mouth = os.pipe()
    os.set_blocking(mouth, False)
    listener = threading.Thread(target=_listen, args=(ears, stop), daemon=True)
    before = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    wakeup = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    listener.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(mouth)
        listener.join()
        os.close(ears)


def _listen(ears: int, stop: Callable[[], None]) -> None:
    told_before = False
    while told := os.read(ears, 1):
        if told[0] not in _STOP_SIGNALS:
            continue
        if told_before:
            os._exit(STOPPED_EXIT_CODE)
        told_before = True
        stop()
