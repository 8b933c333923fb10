"""What became of each track and clip of a dataset, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from singsong.schemas.elements import TrackSummary
from singsong.schemas.outcomes import TrackStatus
from singsong.schemas.recipe import DatasetRecipe


@dataclass(frozen=True, kw_only=True)
class TrackCounts:
    """What became of the listed files.

    Attributes:
        listed: How many there were.
        encoded: How many have a part.
        duplicate: How many have the content or the audio of another one.
        failed: How many failed, by reason.
        cut_short: How many of the encoded ones end before their audio does.
    """

    listed: int = 0
    encoded: int = 0
    cut_short: int = 0
    duplicate: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClipCounts:
    """What became of the clips of the encoded tracks.

    Attributes:
        kept: How many are in the dataset.
        dropped: How many the filter dropped, by reason.
        failed: How many failed, by reason.
    """

    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All clips."""
        return self.kept + sum(self.dropped.values()) + sum(self.failed.values())


@dataclass(frozen=True, kw_only=True)
class AudioSeconds:
    """Seconds of audio in the encoded tracks.

    Attributes:
        decoded: All of it.
        tails: What did not fill a clip.
    """

    decoded: float = 0.0
    tails: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The counts of a dataset.

    Attributes:
        tracks: Of the listed files.
        clips: Of their clips.
        seconds: Of their audio.
        skipped: How many files were not listed, because operating systems leave them in folders.
    """

    tracks: TrackCounts = field(default_factory=TrackCounts)
    clips: ClipCounts = field(default_factory=ClipCounts)
    seconds: AudioSeconds = field(default_factory=AudioSeconds)
    skipped: int = 0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Counts:
        """Returns the counts in a manifest."""
        return cls(
            tracks=TrackCounts(**value["tracks"]),
            clips=ClipCounts(**value["clips"]),
            seconds=AudioSeconds(**value["seconds"]),
            skipped=value.get("skipped", 0),
        )


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """The counts of one split.

    Attributes:
        tracks: Tracks with a kept clip.
        clips: Kept clips.
        seconds: Their length.
    """

    tracks: int = 0
    clips: int = 0
    seconds: float = 0.0


def count(tracks: Sequence[TrackSummary]) -> Counts:
    """Returns the counts of all tracks."""
    encoded = [track for track in tracks if track.status == TrackStatus.ENCODED]
    return Counts(
        tracks=TrackCounts(
            listed=len(tracks),
            encoded=len(encoded),
            cut_short=sum(track.cut_short for track in encoded),
            duplicate=sum(track.status == TrackStatus.DUPLICATE for track in tracks),
            failed=dict(sorted(Counter(str(t.reason) for t in tracks if t.reason).items())),
        ),
        clips=ClipCounts(
            kept=sum(track.kept_clips for track in encoded),
            dropped=_summed(track.dropped_clips for track in encoded),
            failed=_summed(track.failed_clips for track in encoded),
        ),
        seconds=AudioSeconds(
            decoded=round(sum(track.seconds for track in encoded), 3),
            tails=round(sum(track.tail_seconds for track in encoded), 3),
        ),
    )


def count_splits(tracks: Sequence[TrackSummary], recipe: DatasetRecipe) -> dict[str, SplitCounts]:
    """Returns the counts of each split."""
    splits = {}
    for name, _ in recipe.splits:
        inside = [track for track in tracks if track.split == name and track.kept_clips]
        clips = sum(track.kept_clips for track in inside)
        splits[name] = SplitCounts(
            tracks=len(inside), clips=clips, seconds=clips * recipe.encode.clip_seconds
        )
    return splits


def _summed(pairs: Iterable[Iterable[tuple[str, int]]]) -> dict[str, int]:
    total = Counter[str]()
    for track_pairs in pairs:
        for reason, number in track_pairs:
            total[str(reason)] += number
    return dict(sorted(total.items()))
