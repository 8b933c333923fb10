import errno
import os

import pytest

from singsong.schemas.errors import CorruptAudioError
from singsong.storage import StoreDeniedError, StoreUnavailableError, is_machine_trouble
from singsong.storage.machine_trouble import with_advice


class OutOfMemoryError(RuntimeError):
    """As `torch.OutOfMemoryError`, which is told by its name."""


def chained(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


MACHINE = [
    *(
        OSError(number, os.strerror(number))
        for number in (
            *(errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE),
            *(errno.EIO, errno.EROFS, errno.EAGAIN, errno.ENOTCONN, errno.ETIMEDOUT),
        )
    ),
    MemoryError(),
    OutOfMemoryError("tried to allocate 2 GiB"),
    RuntimeError("CUDA error: device-side assert triggered\nmore"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("can't start new thread"),
    RuntimeError("the decoder program failed with status 1: No space left on device"),
    StoreUnavailableError("gs://a does not answer"),
    chained(ValueError("it failed"), OSError(errno.EMFILE, "Too many open files")),
]
NOT = [
    OSError(errno.ENOENT, "No such file"),
    OSError(errno.EACCES, "Permission denied"),
    OSError(errno.EISDIR, "Is a directory"),
    OSError(errno.ENAMETOOLONG, "File name too long"),
    OSError(errno.ELOOP, "Too many levels of symbolic links"),
    StoreDeniedError("gs://a may not be read"),
    ZeroDivisionError("division by zero"),
    RuntimeError("shape mismatch"),
    ValueError("a file that is called Input/output error"),
    CorruptAudioError("the file stops short"),
]


@pytest.mark.parametrize("error", MACHINE, ids=repr)
def test_the_next_file_would_meet_the_same(error: Exception) -> None:
    assert is_machine_trouble(error)


@pytest.mark.parametrize("error", NOT, ids=repr)
def test_nothing_is_wrong_with_the_machine(error: Exception) -> None:
    assert not is_machine_trouble(error)


@pytest.mark.parametrize("error", MACHINE[:-2], ids=repr)
def test_all_trouble_comes_with_advice(error: Exception) -> None:
    said = with_advice(f"{type(error).__name__}: {error}")
    assert said.endswith(", then run the same command again")
