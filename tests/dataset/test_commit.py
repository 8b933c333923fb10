import dataclasses
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import singsong.dataset.commit
from singsong.dataset.commit import (
    AccountingError,
    check_present,
    check_sums,
    sweep,
)
from singsong.dataset.counts import (
    AudioSeconds,
    ClipCounts,
    Counts,
    SplitCounts,
    TrackCounts,
    count,
    count_splits,
)
from singsong.dataset.manifest import ShardEntry, commit_manifest, read_manifest
from singsong.schemas.elements import DeadLetter, TrackSummary
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, recipe_json
from tests.support.small_dataset import MODELS, RECIPE, write_small_dataset


def track(uri: str, *, kept: int = 0, status: str = "encoded", **rest: Any) -> TrackSummary:
    others = [*rest.get("dropped_clips", ()), *rest.get("failed_clips", ())]
    clips = kept + sum(number for _, number in others)
    seconds = 10.0 * clips + rest.get("tail_seconds", 0.0)
    values = {"split": "train" if kept else "", "seconds": seconds, **rest}
    return TrackSummary(uri=uri, track_id=uri, status=status, kept_clips=kept, **values)


def shard(rows: int, *, name: str = "parquet", split: str = "train") -> ShardEntry:
    return ShardEntry(path=name, rows=rows, bytes=1, sha256="", split=split, shard=0, format=name)


RECIPE_10_S = EncodeRecipe()
TRACKS = [
    track("a", kept=3, dropped_clips=(("instrumental_too_quiet", 2),), tail_seconds=1.5),
    track("b", kept=2, failed_clips=(("non_finite", 1),), dropped_clips=(("vocals_too_loud", 1),)),
    track("c", status="duplicate"),
    track("d", status="failed", reason="corrupt"),
]
SHARDS = [shard(3), shard(2), shard(5, name="tfrecord")]


@pytest.mark.parametrize(
    ("tracks", "shards", "listed", "complaint"),
    [
        (TRACKS, SHARDS, 5, "5 files were listed, 4 are accounted for"),
        (TRACKS[:3], SHARDS, 4, "4 files were listed, 3 are accounted for"),
        (TRACKS, SHARDS[1:], 4, "keeps 5 clips, its parquet shards hold 2"),
        (TRACKS, [*SHARDS[:2], shard(6, name="tfrecord")], 4, "its tfrecord shards hold 6"),
        (TRACKS, [], 4, r"no shard was written for the splits \['train'\]"),
        (TRACKS, [*SHARDS, shard(1, split="test")], 4, "split test keeps 0 clips"),
    ],
)
def test_anything_lost_or_doubled_is_an_error(tracks, shards, listed, complaint) -> None:
    check_sums(TRACKS, SHARDS, listed=4, recipe=RECIPE_10_S)
    with pytest.raises(AccountingError, match=complaint):
        check_sums(tracks, shards, listed=listed, recipe=RECIPE_10_S)


@pytest.mark.parametrize("field", ["kept_clips", "dropped_clips", "failed_clips"])
def test_each_clip_that_the_audio_makes_is_accounted_for(field: str) -> None:
    lost = {"kept_clips": 1, "dropped_clips": (), "failed_clips": ()}[field]
    tracks = [dataclasses.replace(TRACKS[0], **{field: lost}), *TRACKS[1:]]
    if tracks[0] == TRACKS[0]:
        tracks[1] = dataclasses.replace(TRACKS[1], **{field: lost})
    with pytest.raises(AccountingError, match=r"(5|4) clips, and (3|4|2) are accounted for"):
        check_sums(tracks, [], listed=4, recipe=RECIPE_10_S)


def test_a_shard_that_another_job_swept_away_is_missed(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    entries = [shard(1, name=f"shards/{name}") for name in "ab"]
    for entry in entries:
        (tmp_path / entry.path).touch()
    check_present(str(tmp_path), entries)
    (tmp_path / "shards" / "b").unlink()
    with pytest.raises(AccountingError, match="shards/b was written and is gone"):
        check_present(str(tmp_path), entries)


def test_counts_name_reasons() -> None:
    assert count(TRACKS) == Counts(
        tracks=TrackCounts(listed=4, encoded=2, duplicate=1, failed={"corrupt": 1}),
        clips=ClipCounts(
            kept=5,
            dropped={"instrumental_too_quiet": 2, "vocals_too_loud": 1},
            failed={"non_finite": 1},
        ),
        seconds=AudioSeconds(decoded=91.5, tails=1.5),
    )


def test_splits_count_tracks_clips_and_seconds() -> None:
    splits = count_splits(TRACKS, DatasetRecipe())
    assert splits["train"] == SplitCounts(tracks=2, clips=5, seconds=50.0)
    assert splits["test"] == SplitCounts()


def files(dataset: Path) -> set[str]:
    """The shards and tables that are there."""
    return {
        f"{folder}/{path.name}"
        for folder in ("shards", "tables")
        for path in (dataset / folder).iterdir()
    }


def test_a_commit_sweeps_away_what_no_version_lists(tmp_path: Path) -> None:
    for folder in ("shards", "tables"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "stray.parquet").touch()
    (tmp_path / "notes.txt").touch()
    manifest = write_small_dataset(tmp_path, tracks=4)
    listed = {entry.path for entry in (*manifest.shards, *manifest.tables)}
    assert files(tmp_path) == listed
    assert (tmp_path / "notes.txt").exists()
    assert list((tmp_path / "parts").rglob("*.parquet"))


def test_a_sweep_keeps_the_files_of_older_versions(tmp_path: Path) -> None:
    manifest = write_small_dataset(tmp_path, tracks=4)
    before = files(tmp_path)
    newest = dataclasses.replace(manifest, shards=manifest.shards[:1], tables=manifest.tables[:1])
    commit_manifest(str(tmp_path), newest)
    sweep(str(tmp_path), newest=newest)
    assert files(tmp_path) == before


def test_sums_that_are_wrong_commit_nothing_and_sweep_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_small_dataset(tmp_path, tracks=2)
    (tmp_path / "shards" / "stray.parquet").touch()
    check = singsong.dataset.commit.check_sums
    monkeypatch.setattr(
        singsong.dataset.commit,
        "check_sums",
        lambda tracks, shards, listed, recipe: check(
            tracks, shards, listed=listed + 1, recipe=recipe
        ),
    )
    with pytest.raises(AccountingError, match="4 files were listed, 3 are accounted for"):
        write_small_dataset(tmp_path, tracks=3)
    assert read_manifest(str(tmp_path)) == first
    assert (tmp_path / "shards" / "stray.parquet").exists()


def test_a_shard_that_is_gone_commits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = singsong.dataset.commit.check_sums

    def remove_then_check(tracks, shards, **how) -> None:
        (tmp_path / shards[0].path).unlink()
        check(tracks, shards, **how)

    monkeypatch.setattr(singsong.dataset.commit, "check_sums", remove_then_check)
    with pytest.raises(AccountingError, match="was written and is gone"):
        write_small_dataset(tmp_path, tracks=3)
    assert not (tmp_path / "manifest.json").exists()


LETTERS = (
    DeadLetter(uri="z", stage="EncodeTracks", reason="corrupt", message="cut", track_id="ff"),
    DeadLetter(uri="y", stage="s", reason="non_finite", message="n", track_id="ee", clip_index=3),
    DeadLetter(uri="y", stage="s", reason="non_finite", message="m", track_id="ee", clip_index=1),
    DeadLetter(uri="x", stage="ListTracks", reason="empty", message="no bytes"),
)


def test_the_tables_hold_each_track_and_each_letter(tmp_path: Path) -> None:
    manifest = write_small_dataset(tmp_path, tracks=2, letters=LETTERS)
    letters = pq.read_table(tmp_path / manifest.table("dead_letters").path).to_pylist()
    assert letters == [vars(LETTERS[number]) for number in (3, 2, 1, 0)]
    rows = pq.read_table(tmp_path / manifest.table("tracks").path).to_pylist()
    assert [(row["uri"], row["status"], row["reason"]) for row in rows] == [
        ("file:///tone-000.wav", "encoded", ""),
        ("file:///tone-001.wav", "encoded", ""),
        ("x", "failed", "empty"),
        ("z", "failed", "corrupt"),
    ]
    assert [row["track_id"] for row in rows[2:]] == ["", "ff"]
    assert [(row["seconds"], row["tail_seconds"], row["kept_clips"]) for row in rows[:2]] == [
        (2.5, 0.5, 2)
    ] * 2
    assert manifest.counts.tracks == TrackCounts(
        listed=4, encoded=2, failed={"corrupt": 1, "empty": 1}
    )


def test_the_manifest_says_what_made_the_dataset(tmp_path: Path) -> None:
    manifest = write_small_dataset(tmp_path, tracks=4)
    assert read_manifest(str(tmp_path)) == manifest
    assert manifest.recipe == recipe_json(RECIPE)
    assert manifest.weights == MODELS.weights
    assert manifest.geometry == MODELS.geometry.to_json()
    assert sum(split.clips for split in manifest.splits.values()) == 8
    paths = [shard.path for shard in manifest.shards]
    assert paths == sorted(paths)
    assert manifest.software["pyarrow"]
