"""What flows through a pipeline: references and counts, never audio."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from singsong.schemas.errors import ClipError
from singsong.schemas.outcomes import DropReason, FailureReason, Stage, TrackStatus
from singsong.schemas.text import printable


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """What was found under a name.

    Attributes:
        uri: Where it is.
        size_bytes: Its size when it was listed.
        problem: Why it cannot be read, if that is known already: a folder that cannot be listed.
        debris: How many files of the operating system it stands for, which are skipped; 0 for a
            file to use.
    """

    uri: str
    size_bytes: int
    problem: str = ""
    debris: int = 0


@dataclass(frozen=True, kw_only=True)
class Track:
    """A recording, named by its content.

    Attributes:
        track_id: Hex sha256 of the file's bytes.
        uri: The file that stands for it.
        size_bytes: Its size.
        alternates: Other files with the same bytes.
        read_from: Where to read it; empty for `uri`.
    """

    track_id: str
    uri: str
    size_bytes: int
    alternates: tuple[str, ...] = ()
    read_from: str = ""

    @property
    def place(self) -> str:
        """Where its bytes are."""
        return self.read_from or self.uri

    def at_each_place(self) -> Iterator[Track]:
        """Yields the track itself, and then the same track, to be read from each other file."""
        yield self
        for uri in self.alternates:
            yield replace(self, read_from=uri)


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

    def to_line(self) -> str:
        r"""Returns it as a line for a terminal.

        >>> DeadLetter(
        ...     uri="/a\tb.wav", stage=Stage.ENCODE_TRACKS, reason=FailureReason.EMPTY, message="no"
        ... ).to_line()
        'empty: /a\\tb.wav: no'
        """
        clip = "" if self.clip_index is None else f" clip {self.clip_index}"
        return printable(f"{self.reason}: {self.uri}{clip}: {self.message}")


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
        cut_short: Whether the file ends before its audio does, or states more than it holds.
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
    cut_short: bool = False
