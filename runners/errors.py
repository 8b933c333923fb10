"""How a job can end without its work done. No Beam, so that light commands start at once."""

STOPPED_EXIT_CODE = 130
"""As of a shell whose command was ended by Ctrl-C."""


class JobFailedError(Exception):
    """The pipeline failed; the message is the cause in one line."""


class JobStoppedError(Exception):
    """The person who waits stopped the pipeline."""
