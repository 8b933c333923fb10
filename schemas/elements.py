"""What flows through a pipeline: references and counts, never audio."""

from __future__ import annotations

from dataclasses import dataclass

from singsong.schemas.errors import ClipError
from singsong.schemas.outcomes import DropReason, FailureReason, Stage, TrackStatus


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that was listed.

    Attributes:
        uri: Where it is.
        size_bytes: Its size when it was listed.
    """

    uri: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Track:
    """A recording, named by its content.

    Attributes:
        track_id: Hex sha256 of the file's bytes.
        uri: Where to read it.
        size_bytes: Its size.
    """

    track_id: str
    uri: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A track or a clip that could not be used, and why.

    Attributes:
        uri: The file.
        stage: The step that gave it up.
        reason: Why.
        message: One sentence for a person.
        track_id: Hex sha256 of the file's bytes, where it could be read.
        clip_index: Which clip of the track, or None for the whole of it.
    """

    uri: str
    stage: Stage
    reason: FailureReason
    message: str
    track_id: str | None = None
    clip_index: int | None = None

    @classmethod
    def of_track(
        cls, error: ClipError, *, stage: Stage, uri: str, track_id: str | None = None
    ) -> DeadLetter:
        """Returns the dead letter of a track that raised an error."""
        return cls(uri=uri, stage=stage, reason=error.reason, message=str(error), track_id=track_id)


@dataclass(frozen=True, kw_only=True)
class PartRef:
    """A part file that exists, and the track it was made from.

    Attributes:
        track: The track.
        path: The part, relative to the parts folder.
    """

    track: Track
    path: str


@dataclass(frozen=True, kw_only=True)
class TrackSummary:
    """One line of the dataset's table of tracks.

    Attributes:
        uri: The file.
        track_id: Hex sha256 of its bytes; empty where it could not be read.
        status: What became of the file.
        part: The part file, relative to the parts folder; empty without one.
        audio_sha256: Hex digest of the decoded audio; empty without a part.
        split: The split of its clips; empty without any.
        duplicate_of: The `track_id` that stands for it; empty if it is no duplicate.
        reason: Why it failed; None if it did not.
        seconds: Length of the audio.
        tail_seconds: Length of what did not fill a clip.
        kept_clips: How many clips are in the dataset.
        dropped_clips: Reason and number of the clips that the filter dropped.
        failed_clips: Reason and number of the clips that failed.
        made_with: What made the part: versions of the libraries and the kind of processor.
    """

    uri: str
    track_id: str
    status: TrackStatus
    part: str = ""
    audio_sha256: str = ""
    split: str = ""
    duplicate_of: str = ""
    reason: FailureReason | None = None
    seconds: float = 0.0
    tail_seconds: float = 0.0
    kept_clips: int = 0
    dropped_clips: tuple[tuple[DropReason, int], ...] = ()
    failed_clips: tuple[tuple[FailureReason, int], ...] = ()
    made_with: tuple[str, ...] = ()
