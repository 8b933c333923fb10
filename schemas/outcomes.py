"""What can become of a file, a track or a clip: the words that are stored and counted."""

from __future__ import annotations

from enum import StrEnum


class TrackStatus(StrEnum):
    """What became of a listed file."""

    ENCODED = "encoded"
    DUPLICATE = "duplicate"
    FAILED = "failed"


class ClipStatus(StrEnum):
    """What became of a clip of an encoded track."""

    ENCODED = "encoded"
    DROPPED = "dropped"
    FAILED = "failed"


class DropReason(StrEnum):
    """Why the loudness filter drops a clip."""

    INSTRUMENTAL_TOO_QUIET = "instrumental_too_quiet"
    VOCALS_TOO_LOUD = "vocals_too_loud"


class FailureReason(StrEnum):
    """Why a track or a clip cannot be used; `singsong.schemas.errors` has the errors."""

    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_AUDIO = "not_audio"
    ENCRYPTED = "encrypted"
    BITSTREAM = "bitstream"
    CORRUPT = "corrupt"
    DECODE_TIMEOUT = "decode_timeout"
    DECODE_MEMORY = "decode_memory"
    TOO_LONG = "too_long"
    CONTENT_CHANGED = "content_changed"
    NON_FINITE = "non_finite"
    OUT_OF_RANGE = "out_of_range"
    UNWRITABLE = "unwritable"
    BAD_SEPARATION = "bad_separation"
    SUM_MISMATCH = "sum_mismatch"  # in datasets of schema version 1 only
    CRASHED = "crashed"


class Stage(StrEnum):
    """The step of a job that gave up a track or a clip."""

    LIST_TRACKS = "ListTracks"
    ENCODE_TRACKS = "EncodeTracks"
    DRAW_FRAMES = "DrawFrames"
    ACCOMPANY_TRACKS = "AccompanyTracks"
