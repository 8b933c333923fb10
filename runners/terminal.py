"""What a user sees of a running job and how they interrupt it: the same for every runner."""

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

from singsong import storage
from singsong.runners.errors import JobFailedError, JobGivenUpError, JobStoppedError
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import first_cause
from singsong.transforms.attempts import forget_attempts
from singsong.transforms.progress import STOP_NAME

_STDERR = 2
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOGGER = logging.getLogger(__name__)


@contextmanager
def monitored_run(
    watch: Callable[[Path], AbstractContextManager[object]],
    *,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Path]:
    """Yields a scratch folder for the progress of a job, and turns its failure into one line.

    Beam prints the traceback of each failing worker; this raises the first cause instead, and logs
    the tracebacks for `singsong --debug`. The first Ctrl-C creates the file `STOP_NAME` in the
    folder: workers of this machine stop at their next clip. The second ends the process at once.

    Args:
        watch: Takes the folder and returns the context that shows the progress.
        stop: Called at the first Ctrl-C, from another thread; for workers that cannot see the
            folder.

    Raises:
        JobStoppedError: Ctrl-C.
        JobGivenUpError: The workers gave the job up; see `FirstTracks`.
        JobFailedError: What runs in the context failed.
    """
    folder = Path(tempfile.mkdtemp(prefix="singsong-progress-"))
    worker_errors = folder / "stderr.txt"

    def request_stop() -> None:
        (folder / STOP_NAME).touch()
        stop()

    try:
        with _calling_on_interrupt(request_stop), watch(folder), _stderr_to(worker_errors):
            yield folder
    # Engines raise errors of any class, those of the workers' libraries among them.
    except Exception as error:
        stop_file = folder / STOP_NAME
        if stop_file.exists():
            reason = stop_file.read_text(encoding="utf-8")
            raise (JobGivenUpError(reason) if reason else JobStoppedError("stopped")) from None
        _LOGGER.debug(
            "the pipeline failed: %s", worker_errors.read_text(errors="replace"), exc_info=True
        )
        raise JobFailedError(storage.with_advice(first_cause(error))) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stderr_to(path: Path) -> Iterator[None]:
    """Redirects the stderr of this process, its C libraries and its children to a file."""
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
    """Calls a function at the first Ctrl-C, and ends the process at the second.

    A terminal sends Ctrl-C to worker processes too, and Beam waits for ever for a worker that it
    killed. Workers inherit the signal mask of the thread that starts them, so SIGINT is blocked
    here; a thread that was started before the mask was set receives it for this process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    listener = threading.Thread(target=_listen, args=(read_fd, stop), daemon=True)
    before = {number: signal.signal(number, lambda *_: None) for number in _STOP_SIGNALS}
    wakeup = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    listener.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(write_fd)
        listener.join()
        os.close(read_fd)


def _listen(read_fd: int, stop: Callable[[], None]) -> None:
    interrupted = False
    while received := os.read(read_fd, 1):
        if received[0] not in _STOP_SIGNALS:
            continue
        if interrupted:
            forget_attempts()
            os._exit(ExitCode.INTERRUPTED)
        interrupted = True
        stop()
