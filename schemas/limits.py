"""Limits on what a file may be, which neither the recipe nor the bytes of a dataset depend on."""

from __future__ import annotations

MAX_TRACK_HOURS = 24.0
"""A file that decodes to more audio is refused, unless a longer limit is asked for."""
LONGEST_MAX_TRACK_HOURS = 10_000


def check_max_track_hours(hours: float) -> float:
    """Returns a limit on the hours of a track.

    Raises:
        ValueError: It is not positive, or exceeds `LONGEST_MAX_TRACK_HOURS`.

    >>> check_max_track_hours(24.0)
    24.0
    """
    if not 0 < hours <= LONGEST_MAX_TRACK_HOURS:
        raise ValueError(
            f"max_track_hours must be positive and at most {LONGEST_MAX_TRACK_HOURS}, found {hours}"
        )
    return hours
