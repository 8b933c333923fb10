"""One example of each type that crosses between stages, of the size it has in a real corpus."""

from __future__ import annotations

from typing import Any

from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo

from singsong.dataset.manifest import ShardEntry
from singsong.dataset.shard_writer import ShardSource
from singsong.schemas.elements import DeadLetter, PartRef, SourceFile, Track, TrackSummary
from singsong.schemas.names import part_path, shard_path
from singsong.schemas.outcomes import DropReason, FailureReason, Stage, TrackStatus
from singsong.transforms.assemble_shards import SelectedTrack

CLIPS_PER_TRACK = 24
"""Of a track of 4 minutes, in clips of 10 s."""

_SHA256 = "0123456789abcdef" * 4
_URI = "gs://a-bucket/music/An Artist/An Album (2001)/01 - A Title of Some Words.flac"
_PART = part_path(_SHA256, _SHA256)
_KEPT = tuple(range(CLIPS_PER_TRACK))
_TRACK = Track(track_id=_SHA256, uri=_URI, size_bytes=28_000_000)
_SUMMARY = TrackSummary(
    uri=_URI,
    track_id=_SHA256,
    status=TrackStatus.ENCODED,
    part=_PART,
    audio_sha256=_SHA256,
    split="train",
    seconds=241.7,
    tail_seconds=1.7,
    kept_clips=CLIPS_PER_TRACK - 4,
    dropped_clips=((DropReason.INSTRUMENTAL_TOO_QUIET, 4),),
)

EXAMPLES: dict[Any, Any] = {
    str: _URI,
    int: 1_000_000,
    None: None,
    type(None): None,
    Timestamp: Timestamp(0),
    PaneInfo: PANE_INFO_UNKNOWN,
    SourceFile: SourceFile(uri=_URI, size_bytes=28_000_000),
    Track: _TRACK,
    PartRef: PartRef(track=_TRACK, path=_PART),
    TrackSummary: _SUMMARY,
    SelectedTrack: SelectedTrack(summary=_SUMMARY, kept=_KEPT),
    ShardSource: ShardSource(track_id=_SHA256, path=_PART, kept=_KEPT),
    ShardEntry: ShardEntry(
        path=shard_path(split="train", shard=3, shards=64, sha256=_SHA256, suffix="parquet"),
        sha256=_SHA256,
        bytes=300_000_000,
        rows=8192,
        shard=3,
        split="train",
        format="parquet",
    ),
    DeadLetter: DeadLetter(
        uri=_URI,
        stage=Stage.ENCODE_TRACKS,
        reason=FailureReason.CORRUPT,
        message="the decoder gave up after 12.3 s of audio: invalid data found",
        track_id=_SHA256,
    ),
}
