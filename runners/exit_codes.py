"""How a command ends, as its caller sees it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of all commands.

    >>> int(ExitCode.INTERRUPTED)
    130
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    """The command line is wrong; `argparse` exits with the same code."""

    FAILED_TRACKS = 3
    """Too many tracks failed, or all of them."""

    INTERRUPTED = 130
    """As of a shell whose command was ended by Ctrl-C: 128 and the number of the signal."""
