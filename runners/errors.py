"""How a job can end without its work done. No Beam, so that light commands start at once."""

from singsong.schemas.errors import SingsongError


class JobFailedError(SingsongError):
    """The pipeline failed; the message is the cause in one line."""


class JobStoppedError(Exception):
    """The user interrupted the pipeline."""
