from collections import Counter
from hashlib import sha256

import pytest

from singsong.schemas.names import clip_id, part_path, shard_of, split_of, table_path, version_path

IDS = [sha256(str(number).encode()).hexdigest() for number in range(20000)]
PAPER_SPLITS = (("train", 98), ("validation", 1), ("test", 1))


def test_splits_have_their_weights() -> None:
    counts = Counter(split_of(name, PAPER_SPLITS) for name in IDS)
    assert counts["train"] / len(IDS) == pytest.approx(0.98, abs=0.005)
    assert counts["validation"] / len(IDS) == pytest.approx(0.01, abs=0.003)


def test_a_split_without_weight_stays_empty() -> None:
    assert {split_of(name, (("a", 0), ("b", 1), ("c", 0))) for name in IDS[:500]} == {"b"}


def test_shards_are_even_and_independent_of_splits() -> None:
    counts = Counter(shard_of(name, 4) for name in IDS)
    assert max(counts.values()) < 1.1 * min(counts.values())
    test_shards = {shard_of(name, 4) for name in IDS if split_of(name, PAPER_SPLITS) == "test"}
    assert test_shards == {0, 1, 2, 3}


def test_clip_ids_sort_as_the_clips_do() -> None:
    names = [clip_id(IDS[0], index) for index in (0, 2, 10, 720, 99999)]
    assert names == sorted(names)


def test_parts_are_named_by_track_and_recipe() -> None:
    assert part_path(IDS[0], IDS[1]) == f"{IDS[0][:2]}/{IDS[0]}-{IDS[1]}.parquet"


def test_tables_and_versions_are_named_by_twelve_digits() -> None:
    digest = "0123456789abcdef" * 4
    assert version_path(digest) == "versions/0123456789ab.json"
    path = table_path(name="tracks", sha256=digest, suffix="parquet")
    assert path == "tables/tracks-0123456789ab.parquet"


def test_golden_shards_and_splits() -> None:
    """Other values would move tracks of published datasets to other shards and splits."""
    assert [shard_of(name, 1024) for name in IDS[:4]] == [885, 588, 298, 432]
    splits = (("a", 1), ("b", 1), ("c", 2))
    drawn = "".join(split_of(name, splits) for name in IDS[:32])
    assert drawn == "aaccbcbccccbcccccccccaabbbbcbbca"
