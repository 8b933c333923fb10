"""Trouble of the machine, told apart from what is wrong with one file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping

from singsong.schemas.errors import SingsongError
from singsong.storage.errors import StoreUnavailableError

_FULL = "free space on the disk that is full; scratch files go where TMPDIR says"
_FILES = "allow more open files (`ulimit -n`) or use fewer workers"
_MEMORY = "use fewer workers or smaller batches, or a machine with more memory"
_PROCESSES = "allow more processes (`ulimit -u`) or use fewer workers"
_MOUNT = "a disk or a network mount fails: check it, mount it again"
_GPU_MEMORY = "use smaller batches, or end what else uses the GPU"
_GPU = "check the GPU with `nvidia-smi`, or compute with `--device cpu`"

_BY_NAME = {
    **dict.fromkeys(("ENOSPC", "EDQUOT"), _FULL),
    **dict.fromkeys(("EMFILE", "ENFILE"), _FILES),
    **dict.fromkeys(("ENOMEM", "ENOBUFS"), _MEMORY),
    "EAGAIN": _PROCESSES,
    **dict.fromkeys(("EIO", "ESTALE", "EROFS", "EUCLEAN", "ENOTCONN", "EREMOTEIO"), _MOUNT),
    **dict.fromkeys(("ETIMEDOUT", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET"), _MOUNT),
    **dict.fromkeys(("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"), _MOUNT),
}
_BY_ERRNO: Mapping[int, str] = {
    getattr(errno, name): advice for name, advice in _BY_NAME.items() if hasattr(errno, name)
}
# Libraries and worker processes pass on only the text of an error. The first that matches counts.
_BY_TEXT: Mapping[str, str] = {
    r"(CUDA|HIP|MPS backend|XPU) out of memory|CUBLAS_STATUS_ALLOC_FAILED|OutOfMemoryError": (
        _GPU_MEMORY
    ),
    r"\b(CUDA|HIP) (error|failure)|\b(CUDNN|CUBLAS|CUFFT|CUSPARSE)_(STATUS|FE)|\bcuDNN error"
    r"|\bCUDNN failure|\bNCCL error|\bAcceleratorError": _GPU,
    r"\bMemoryError\b|DefaultCPUAllocator|\bstd::bad_alloc\b": _MEMORY,
    r"can't start new thread": _PROCESSES,
    **{re.escape(f"[Errno {number}]"): advice for number, advice in _BY_ERRNO.items()},
    **{
        re.escape(os.strerror(getattr(errno, name))): _BY_NAME[name]
        for name in ("ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "EIO")
    },
}


def is_machine_trouble(error: BaseException) -> bool:
    """Returns whether an error says that the machine is in trouble, and nothing of the input.

    A full disk, too many open files, a mount that fails, memory or a GPU that ran out, a store that
    does not answer: the next file would meet the same. A file that is missing or not permitted is
    not such trouble.

    >>> is_machine_trouble(OSError(errno.ENOSPC, "No space left")), is_machine_trouble(KeyError())
    (True, False)
    """
    if isinstance(error, StoreUnavailableError | MemoryError):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _BY_ERRNO
    if error.__cause__ is not None and is_machine_trouble(error.__cause__):
        return True
    if not isinstance(error, RuntimeError | OSError) or isinstance(error, SingsongError):
        return False
    return _advice(f"{type(error).__name__}: {error}") is not None


def with_advice(message: str) -> str:
    """Returns what an error says, and what to do if it is trouble of the machine.

    >>> with_advice("no such model")
    'no such model'
    >>> with_advice("[Errno 24] Too many open files: 'a.wav'").partition(": allow")[2]
    ' more open files (`ulimit -n`) or use fewer workers, then run the same command again'
    """
    advice = _advice(message)
    return message if advice is None else f"{message}: {advice}, then run the same command again"


def _advice(message: str) -> str | None:
    found = (advice for pattern, advice in _BY_TEXT.items() if re.search(pattern, message))
    return next(found, None)
