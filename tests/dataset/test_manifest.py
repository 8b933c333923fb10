import dataclasses
from pathlib import Path

import pytest

from singsong.dataset.counts import Counts, SplitCounts, TrackCounts
from singsong.dataset.manifest import (
    DatasetError,
    DatasetMissingError,
    FileEntry,
    Manifest,
    ShardEntry,
    commit_manifest,
    read_manifest,
)
from singsong.schemas.recipe import DatasetRecipe, recipe_json


def mock_manifest(**changes: object) -> Manifest:
    shard = ShardEntry(
        path="shards/a", rows=1, bytes=2, sha256="ab", split="train", shard=0, format="parquet"
    )
    table = FileEntry(path="tables/tracks-0.parquet", rows=1, bytes=2, sha256="cd")
    values = {
        "recipe": recipe_json(DatasetRecipe()),
        "weights": {"acoustic": "ef"},
        "geometry": {},
        "counts": Counts(tracks=TrackCounts(listed=1, failed={"empty": 1})),
        "splits": {"train": SplitCounts(tracks=1, clips=2, seconds=20.0)},
        "shards": (shard,),
        "tables": (table,),
        "origin": {},
        "software": {},
    }
    return Manifest(**{**values, **changes})


def test_a_manifest_survives_json() -> None:
    manifest = mock_manifest()
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json()).to_json() == manifest.to_json()


def test_the_digest_is_of_content_and_recipe_alone() -> None:
    base = mock_manifest()
    (shard,) = base.shards
    same = [
        mock_manifest(software={"torch": "0"}),
        mock_manifest(origin={"parts": "/elsewhere"}),
        mock_manifest(tables=()),
        mock_manifest(shards=(dataclasses.replace(shard, path="shards/b"),)),
    ]
    assert {manifest.dataset_digest for manifest in same} == {base.dataset_digest}
    other = [
        mock_manifest(weights={"acoustic": "00"}),
        mock_manifest(recipe=recipe_json(DatasetRecipe(clips_per_shard=1))),
        mock_manifest(shards=(dataclasses.replace(shard, sha256="ac"),)),
    ]
    assert base.dataset_digest not in {manifest.dataset_digest for manifest in other}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[:-20], "not a dataset manifest"),
        (lambda text: "[]", "not a dataset manifest"),
        (lambda text: "{}", "not a dataset manifest"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 99'), "version 99"),
        (lambda text: text.replace('"sha256": "ab"', '"sha256": "ff"'), "digest"),
    ],
)
def test_a_changed_manifest_is_refused(change: object, complaint: str) -> None:
    with pytest.raises(DatasetError, match=complaint):
        Manifest.from_json(change(mock_manifest().to_json()))  # type: ignore[operator]


def test_committing_keeps_the_versions_before(tmp_path: Path) -> None:
    first, second = mock_manifest(), mock_manifest(weights={"acoustic": "00"})
    commit_manifest(str(tmp_path), first)
    commit_manifest(str(tmp_path), second)
    assert read_manifest(str(tmp_path)).dataset_digest == second.dataset_digest
    old = read_manifest(str(tmp_path), first.dataset_digest[:12])
    assert old.dataset_digest == first.dataset_digest


def test_no_dataset_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissingError, match="does not exist"):
        read_manifest(str(tmp_path))


def test_an_unknown_table_is_said_plainly() -> None:
    with pytest.raises(DatasetError, match="no table 'covers'"):
        mock_manifest().table("covers")
