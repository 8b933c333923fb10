"""Keeps the memory that a network frees, so that the next forward need not fault it in again."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_NEVER_BELOW_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Tells glibc to serve large blocks from the heap and not to give them back.

    By default each activation of a few MB is mapped anew, zeroed by the kernel page by page and
    unmapped when freed, which takes up to a fifth of a convolution net's time on a CPU. The results
    are the same bits. The process holds on to the most memory it ever used; call it once, before
    the first model runs.

    Returns:
        Whether it took effect: False where the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    thresholds = (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD)
    return all(libc.mallopt(threshold, _NEVER_BELOW_BYTES) == 1 for threshold in thresholds)
