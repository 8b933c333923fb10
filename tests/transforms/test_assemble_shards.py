"""From parts to shards: what is kept, where it goes, and what is written down of it."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from singsong.dataset.part_files import TrackFacts, write_part
from singsong.dataset.parts import BrokenPartError, MissingCodesError
from singsong.schemas.elements import DeadLetter, PartRef, Track, TrackSummary
from singsong.schemas.names import shard_of, split_of
from singsong.schemas.outcomes import ClipStatus, FailureReason
from singsong.schemas.part_row import PartRow
from singsong.schemas.recipe import DatasetRecipe, LoudnessFilter
from singsong.schemas.records import record_fields
from singsong.transforms.assemble_shards import (
    AssembleConfig,
    SelectedTrack,
    elect_recording,
    key_by_shard,
    select_clips,
)
from tests.support.small_dataset import MODELS, RECIPE, config

TRACK = Track(track_id="ab" * 32, uri="file:///a.wav", size_bytes=1)
PART = PartRef(track=TRACK, path="a.parquet")
LEVELS = [  # vocals and instrumental in dB, and what the paper's filter makes of the clip
    (-20.0, -15.0, ""),
    (-50.0, -26.0, "instrumental_too_quiet"),
    (-15.0, -20.0, "vocals_too_loud"),
    (-15.1, -20.0, ""),
    (-40.0, -24.9, ""),
    (-30.0, -25.1, "instrumental_too_quiet"),
]
AUDIO = hashlib.sha256(b"some audio").hexdigest()


def write_rows(folder: Path, statuses: dict[int, ClipStatus] | None = None) -> None:
    rows = []
    for index, (vocals_db, instrumental_db, _) in enumerate(LEVELS):
        status = (statuses or {}).get(index, ClipStatus.ENCODED)
        row = PartRow(
            clip_id=f"{TRACK.track_id[:32]}-{index:06d}",
            track_id=TRACK.track_id,
            clip_index=index,
            start_s=float(index),
            status=status,
        )
        if status is ClipStatus.FAILED:
            row.reason, row.message = FailureReason.NON_FINITE, f"clip {index}"
        else:
            row.figures["vocals_peak_rms_db"] = vocals_db
            row.figures["instrumental_peak_rms_db"] = instrumental_db
        rows.append(row)
    facts = TrackFacts(
        track_id=TRACK.track_id, audio_sha256=AUDIO, samples=65, rate_hz=10, clip_samples=10
    )
    fields = record_fields(RECIPE.encode, MODELS.geometry)
    write_part(str(folder / "parts/a.parquet"), rows, fields=fields, facts=lambda: facts)


def job(folder: Path, recipe: DatasetRecipe = RECIPE) -> AssembleConfig:
    return config(folder, recipe)


def test_the_filter_keeps_what_the_paper_keeps(tmp_path: Path) -> None:
    write_rows(tmp_path)
    track, letters = select_clips(PART, job(tmp_path))
    assert track.kept == tuple(n for n, (_, _, reason) in enumerate(LEVELS) if not reason)
    summary = track.summary
    assert summary.kept_clips == 3
    assert dict(summary.dropped_clips) == {"instrumental_too_quiet": 2, "vocals_too_loud": 1}
    assert (summary.uri, summary.track_id, summary.part) == (TRACK.uri, TRACK.track_id, PART.path)
    assert (summary.status, summary.audio_sha256) == ("encoded", AUDIO)
    assert (summary.seconds, summary.tail_seconds) == (6.5, 0.5)
    assert letters == []


def test_the_dataset_filter_decides_and_not_that_of_the_encoder(tmp_path: Path) -> None:
    write_rows(tmp_path)
    stricter = replace(RECIPE, dataset_filter=LoudnessFilter(min_instrumental_db=-18))
    assert select_clips(PART, job(tmp_path, stricter))[0].kept == (0,)


def test_each_failed_clip_is_a_dead_letter_of_its_track(tmp_path: Path) -> None:
    write_rows(tmp_path, {0: ClipStatus.FAILED, 5: ClipStatus.FAILED})
    track, letters = select_clips(PART, job(tmp_path))
    assert track.kept == (3, 4)
    assert letters == [
        DeadLetter(
            uri=TRACK.uri,
            stage="EncodeTracks",
            reason="non_finite",
            message=f"clip {index}",
            track_id=TRACK.track_id,
            clip_index=index,
        )
        for index in (0, 5)
    ]
    assert dict(track.summary.failed_clips) == {"non_finite": 2}


def test_a_kept_clip_without_codes_is_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path, {3: ClipStatus.DROPPED})
    with pytest.raises(MissingCodesError, match="no codes for 1 clips"):
        select_clips(PART, job(tmp_path))


def test_a_dropped_clip_needs_no_codes(tmp_path: Path) -> None:
    write_rows(tmp_path, {1: ClipStatus.DROPPED, 2: ClipStatus.DROPPED})
    assert select_clips(PART, job(tmp_path))[0].kept == (0, 3, 4)


def test_without_stems_there_is_nothing_to_filter(tmp_path: Path) -> None:
    write_rows(tmp_path)
    mix = replace(RECIPE, encode=replace(RECIPE.encode, separator=None))
    assert select_clips(PART, job(tmp_path, mix))[0].kept == tuple(range(len(LEVELS)))


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/a.parquet").write_bytes(b"PAR1")
    with pytest.raises(BrokenPartError, match=r"a\.parquet is damaged"):
        select_clips(PART, job(tmp_path))


def keyed(purpose: str, key: str) -> int:
    """The documented number: blake2b of purpose and key, eight bytes, the largest first."""
    digest = hashlib.blake2b(f"{purpose}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def test_the_split_follows_the_audio_alone(tmp_path: Path) -> None:
    write_rows(tmp_path)
    recipe = replace(RECIPE, splits=(("train", 1), ("validation", 2), ("test", 5)))
    point, point_of_id = (keyed("split", key) / 2**64 * 8 for key in (AUDIO, "01" * 32))
    want = "train" if point < 1 else "validation" if point < 3 else "test"
    assert (want, 1 <= point_of_id < 3) == ("test", True)  # by its id it would be in validation
    for track_id in ("ab" * 32, "01" * 32):
        part = PartRef(track=replace(TRACK, track_id=track_id), path=PART.path)
        assert select_clips(part, job(tmp_path, recipe))[0].summary.split == want


def test_splits_and_shards_are_keyed_as_documented() -> None:
    splits = (("train", 3), ("test", 1))
    for number in range(200):
        key = hashlib.sha256(bytes([number])).hexdigest()
        in_train = keyed("split", key) / 2**64 < 0.75
        assert split_of(key, splits) == ("train" if in_train else "test")
        assert shard_of(key, 7) == keyed("shard", key) % 7


def selected(track_id: str, uri: str = "u", split: str = "test") -> SelectedTrack:
    summary = TrackSummary(
        uri=uri,
        track_id=track_id,
        status="encoded",
        part=f"{track_id}.parquet",
        audio_sha256=AUDIO,
        split=split,
        seconds=6.5,
        tail_seconds=0.5,
        kept_clips=2,
        dropped_clips=(("vocals_too_loud", 1),),
    )
    return SelectedTrack(summary=summary, kept=(4, 5))


def test_one_track_stays_of_each_recording() -> None:
    tracks = [selected("bb", "1"), selected("aa", "3"), selected("aa", "2"), selected("cc", "0")]
    for order in (tracks, tracks[::-1]):
        first, *others = elect_recording(order)
        assert first == tracks[2]
        assert [(one.summary.track_id, one.summary.uri) for one in others] == [
            ("aa", "3"),
            ("bb", "1"),
            ("cc", "0"),
        ]
        for one in others:
            assert one.kept == ()
            assert (one.summary.status, one.summary.duplicate_of) == ("duplicate", "aa")
            assert (one.summary.kept_clips, one.summary.split) == (0, "")
            assert one.summary.dropped_clips == ()
            assert one.summary.part == f"{one.summary.track_id}.parquet"


def test_a_track_goes_to_the_shard_of_its_id_in_its_split() -> None:
    clips = {"train": 1000, "test": 41}
    keys = Counter[str]()
    for number in range(50):
        track_id = hashlib.sha256(bytes([number])).hexdigest()
        key, source = key_by_shard(selected(track_id), clips, 10)
        assert key == f"test/{keyed('shard', track_id) % 5}/5"
        assert (source.track_id, source.path, source.kept) == (
            track_id,
            f"{track_id}.parquet",
            (4, 5),
        )
        keys[key] += 1
    assert len(keys) == 5
