from pathlib import Path

import pytest

from schemas.elements import TrackSummary
from schemas.manifest import ShardEntry
from schemas.recipe import DatasetRecipe
from transforms.commit_dataset import (
    AccountingError,
    check_present,
    check_sums,
    count,
    count_splits,
)


def track(uri: str, *, kept: int = 0, status: str = "encoded", **rest: object) -> TrackSummary:
    values = {"split": "train" if kept else "", "seconds": 10.0 * kept, **rest}
    return TrackSummary(uri=uri, track_id=uri, status=status, kept_clips=kept, **values)  # type: ignore[arg-type]


def shard(rows: int, *, name: str = "parquet", split: str = "train") -> ShardEntry:
    return ShardEntry(path=name, rows=rows, bytes=1, sha256="", split=split, shard=0, format=name)


TRACKS = [
    track("a", kept=3, dropped_clips=(("instrumental_too_quiet", 2),), tail_seconds=1.5),
    track("b", kept=2, failed_clips=(("non_finite", 1),), dropped_clips=(("vocals_too_loud", 1),)),
    track("c", status="duplicate"),
    track("d", status="failed", reason="corrupt"),
]
SHARDS = [shard(3), shard(2), shard(5, name="tfrecord")]


def test_sums_that_add_up_pass() -> None:
    check_sums(TRACKS, SHARDS, 4)


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
    with pytest.raises(AccountingError, match=complaint):
        check_sums(tracks, shards, listed)


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
    assert count(TRACKS) == {
        "tracks": {"listed": 4, "encoded": 2, "duplicate": 1, "failed": {"corrupt": 1}},
        "clips": {
            "kept": 5,
            "dropped": {"instrumental_too_quiet": 2, "vocals_too_loud": 1},
            "failed": {"non_finite": 1},
        },
        "seconds": {"decoded": 50.0, "tails": 1.5},
    }


def test_splits_count_tracks_clips_and_seconds() -> None:
    splits = count_splits(TRACKS, DatasetRecipe())
    assert splits["train"] == {"tracks": 2, "clips": 5, "seconds": 50.0}
    assert splits["test"] == {"tracks": 0, "clips": 0, "seconds": 0.0}
