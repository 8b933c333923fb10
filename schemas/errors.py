"""What can be wrong with a recording, each kind with a stable reason.

Only these become dead letters. A wrong setting is a `ValueError` at construction. Trouble of the
machine propagates, so that the runner retries or stops. What nobody foresaw costs one track.
"""

from __future__ import annotations

from typing import ClassVar

from singsong.schemas.outcomes import FailureReason
from singsong.schemas.text import printable


class SingsongError(Exception):
    """An error whose message tells the user all: the command line prints it without a traceback."""


class ClipError(SingsongError):
    """A track or a clip that cannot be used; `reason` is the key it is counted under.

    Only subclasses are raised, one for each reason.
    """

    reason: ClassVar[FailureReason]


class UnreadableFileError(ClipError):
    """The file is missing, or we may not read it."""

    reason = FailureReason.UNREADABLE


class EmptyFileError(ClipError):
    """The file has no bytes, or decodes to no samples."""

    reason = FailureReason.EMPTY


class NotAudioError(ClipError):
    """No decoder recognises the content as audio."""

    reason = FailureReason.NOT_AUDIO


class EncryptedError(ClipError):
    """The audio is encrypted, as a shop's or a streaming service's files are."""

    reason = FailureReason.ENCRYPTED


class BitstreamError(ClipError):
    """The samples are coded data, such as DTS, that was stored as if it were sound."""

    reason = FailureReason.BITSTREAM


class CorruptAudioError(ClipError):
    """A decoder recognised the content and cannot decode a part before its end, or crashed."""

    reason = FailureReason.CORRUPT


class DecodeTimeoutError(ClipError):
    """The decoder ran past its time bound and was killed."""

    reason = FailureReason.DECODE_TIMEOUT


class DecodeMemoryError(ClipError):
    """The decoder ran past its memory bound and was killed."""

    reason = FailureReason.DECODE_MEMORY


class TooLongError(ClipError):
    """The file decodes to more audio than a track may have."""

    reason = FailureReason.TOO_LONG


class ContentChangedError(ClipError):
    """The bytes are no longer those that were listed."""

    reason = FailureReason.CONTENT_CHANGED


class NonFiniteAudioError(ClipError):
    """A sample is NaN or infinite."""

    reason = FailureReason.NON_FINITE


class OutOfRangeAudioError(ClipError):
    """A sample lies so far outside [-1, 1] that the file's scale must be wrong."""

    reason = FailureReason.OUT_OF_RANGE


class UnwritableAudioError(ClipError):
    """The format that is asked for cannot hold audio of this rate, or so many channels."""

    reason = FailureReason.UNWRITABLE


class BadSeparationError(ClipError):
    """The separator's vocals cannot be those of the mix: late, inverted, too loud or foreign."""

    reason = FailureReason.BAD_SEPARATION


class CrashedError(ClipError):
    """The work on the track failed in a way that nobody foresaw, or ended its process."""

    reason = FailureReason.CRASHED


def add_file(error: Exception, uri: str) -> None:
    """Adds the file in hand to the first line of an error that stops a job.

    It is no note of the error, because Beam takes the last line of an error for its message.

    >>> error = RuntimeError("no memory")
    >>> add_file(error, "/music/a.wav")
    >>> str(error)
    'no memory, while working on /music/a.wav'
    """
    doing = f", while working on {printable(uri)}"
    if isinstance(error, OSError) and error.errno is not None:
        error.strerror = f"{error.strerror}{doing}"
        return
    first, line_break, rest = str(error).partition("\n")
    error.args = (f"{first or type(error).__name__}{doing}{line_break}{rest}",)
