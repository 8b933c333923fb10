"""What became of one file, one track or one clip, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from singsong import storage
from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.part_files import open_part
from singsong.dataset.parts import row_drop_reason
from singsong.dataset.versions import version_names
from singsong.schemas.elements import TrackSummary
from singsong.schemas.names import clip_id
from singsong.schemas.outcomes import ClipStatus, TrackStatus

_CLIP = re.compile(r"([0-9a-f]{32})-(\d{6,})")
_LEAST_DIGITS = 6
_LEVELS = {
    "mix_peak_rms_db": "mix",
    "vocals_peak_rms_db": "vocals",
    "instrumental_peak_rms_db": "instrumental",
}


def explain(dataset: Dataset, what: str) -> list[str]:
    """Returns lines that say where something comes from, what was measured, and where it is.

    Args:
        dataset: The dataset.
        what: A file by its path, URL or name; a track by six digits or more of its id; or a clip by
            its id.

    Raises:
        ValueError: The dataset knows no such thing.
        DatasetError: A table or a part is damaged.
        OSError: One cannot be read.
    """
    clip = _CLIP.fullmatch(what)
    index = int(clip[2]) if clip else None
    found = [track for track in dataset.tracks if _is_meant(track, clip[1] if clip else what)]
    if not found:
        raise ValueError(
            f"{dataset.url} knows no file, track or clip {what!r}: give the path of a file as it "
            "was listed, its name, or an id as it stands in the records"
        )
    lines = []
    for track in found:
        lines += [*_about_track(dataset, track), *_about_clips(dataset, track, only=index)]
    return lines


def _is_meant(track: TrackSummary, what: str) -> bool:
    if re.fullmatch(f"[0-9a-f]{{{_LEAST_DIGITS},}}", what) and track.track_id.startswith(what):
        return True
    place = storage.local_path(track.uri) if storage.is_local(track.uri) else track.uri
    absolute = storage.filesystem(what)[1] if storage.is_local(what) else what
    return what in (track.uri, place.rpartition("/")[2]) or absolute == place


def _about_track(dataset: Dataset, track: TrackSummary) -> Iterator[str]:
    yield track.uri
    if track.track_id:
        yield _line("track", track.track_id)
    yield _line("status", track.status)
    for failure in dataset.failures:
        if failure.uri == track.uri and failure.clip_index is None:
            yield _line("", f"{failure.reason}: {failure.message}")
    if track.duplicate_of:
        others = [
            one.uri
            for one in dataset.tracks
            if one.track_id == track.duplicate_of and one.status == TrackStatus.ENCODED
        ]
        yield _line("", f"the same audio as {', '.join(others) or track.duplicate_of}")
    if track.status == TrackStatus.ENCODED:
        cut = "; the file ends before its audio does" if track.cut_short else ""
        rest = f", the last {track.tail_seconds:.1f} s fill no clip" if track.tail_seconds else ""
        yield _line("length", f"{track.seconds:.1f} s{rest}{cut}")
        yield _line("split", f"{track.split}, by the audio {track.audio_sha256[:12]}")
        yield _line("part", storage.join(dataset.parts, track.part))
        for maker in track.made_with:
            yield _line("made with", maker)
    if track.track_id:
        yield _line("versions", ", ".join(_versions_with(dataset, track.track_id)))


def _versions_with(dataset: Dataset, track_id: str) -> Iterator[str]:
    newest = open_dataset(dataset.url).manifest.dataset_digest[:12]
    for name in version_names(dataset.url):
        tracks = open_dataset(dataset.url, name).tracks
        kept = [track.kept_clips for track in tracks if track.track_id == track_id]
        if kept:  # a copy has the same id, and no clips
            yield f"{name} ({sum(kept)} clips{', the newest' if name == newest else ''})"


def _about_clips(dataset: Dataset, track: TrackSummary, *, only: int | None) -> Iterator[str]:
    if track.status != TrackStatus.ENCODED:
        return
    figures = [field.name for field in dataset.fields if field.kind == "float32"]
    columns = ["clip_index", "status", "reason", "message", *figures]
    try:
        with open_part(storage.join(dataset.parts, track.part)) as part:
            rows = part.reader.read(columns).to_pylist()
    except FileNotFoundError:
        yield _line("clips", f"{track.kept_clips} kept; the part is gone, and with it the rest")
        return
    if only is not None and only >= len(rows):
        raise ValueError(f"{track.uri} has {len(rows)} clips, and no clip {only}")
    for row in rows if only is None else [rows[only]]:
        yield _line(f"clip {row['clip_index']}", _outcome(dataset, row))
        if only is not None:
            yield _line("id", clip_id(track.track_id, only))
            for name in figures:
                if row[name] is not None:
                    yield _line("", f"{name} {row[name]:.4g}")


def _outcome(dataset: Dataset, row: Mapping[str, Any]) -> str:
    """Returns what became of a clip by its row in the part, and its levels."""
    if row["status"] == ClipStatus.FAILED:
        return f"failed, {row['reason']}: {row['message']}"
    levels = [(name, row[key]) for key, name in _LEVELS.items() if row.get(key) is not None]
    heard = ", ".join(f"{name} {level:.1f} dBFS" for name, level in levels)
    if dataset.recipe.encode.separator is None:
        return f"kept: {heard}"
    reason = row_drop_reason(row, dataset.recipe.dataset_filter)
    if reason is None:
        return f"kept: {heard}"
    return f"dropped, {reason}: {heard}; {_thresholds(dataset)}"


def _thresholds(dataset: Dataset) -> str:
    used = dataset.recipe.dataset_filter
    return (
        f"the instrumental must reach {used.min_instrumental_db:g} dBFS, and the vocals be at most "
        f"{used.max_vocals_above_db:g} dB above it"
    )


def _line(name: str, value: str) -> str:
    return f"  {name:<12}{value}"
