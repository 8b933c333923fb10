"""How a job can end without its work done. No Beam, so that light commands start at once."""

from typing import ClassVar

from singsong.runners.exit_codes import ExitCode
from singsong.schemas.errors import SingsongError


class JobFailedError(SingsongError):
    """The pipeline failed; the message is the cause in one line."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED


class JobGivenUpError(JobFailedError):
    """The workers gave the job up, because most of the first tracks were of no use."""

    exit_code = ExitCode.FAILED_TRACKS


class JobStoppedError(Exception):
    """The user interrupted the pipeline."""
