"""A dataset through its handle, against what pyarrow reads from the same files."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.support.code_dataset import SMALL, recommitted, write_dataset
from singsong import storage
from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.manifest import DatasetMissingError
from singsong.schemas.outcomes import FailureReason, Stage, TrackStatus
from tests.pipelines.conftest import Prepare, fakes, prepare  # noqa: F401
from tests.support.fakes import write_tones

REMOTE = "memory://handles/dataset"


@pytest.fixture(scope="module", params=["parquet", "tfrecord"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    write_dataset(folder, clips=600, shards=2, formats=("parquet", "tfrecord"))
    kept = [s for s in open_dataset(str(folder)).shards if s.format == request.param]
    recommitted(folder, shards=tuple(kept))
    return folder


@pytest.fixture
def remote(folder: Path) -> Iterator[str]:
    """The same dataset in a store that is not a disk."""
    fs = fsspec.filesystem("memory")
    fs.put(str(folder), "/handles/dataset", recursive=True)
    yield REMOTE
    fs.rm("/handles", recursive=True)


def records(folder: Path) -> list[dict]:
    """The records of the Parquet shards, whether the manifest lists them or not."""
    paths = sorted((folder / "shards").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def test_clips_are_the_records_in_order(folder: Path) -> None:
    want = records(folder)
    clips = list(open_dataset(str(folder)).clips())
    assert [clip.clip_id for clip in clips] == [row["clip_id"] for row in want]
    assert len(clips) == len(open_dataset(str(folder))) == 600
    for clip, row in list(zip(clips, want, strict=True))[::97]:
        assert (clip.track_id, clip.clip_index) == (row["track_id"], row["clip_index"])
        assert (clip.split, clip.vocals_peak_rms_db) == ("train", -20.0)
        assert list(clip.codes) == ["vocals", "vocals_noisy", "instrumental"]
        for source, codes in clip.codes.items():
            assert codes.acoustic.dtype == codes.semantic.dtype == np.uint16
            assert codes.acoustic.shape == (4, 3)
            assert codes.acoustic.ravel().tolist() == row[f"{source}_acoustic"]
            assert codes.semantic.tolist() == row[f"{source}_semantic"]
            assert codes.flac is None


def test_one_clip_by_its_id(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    for row in records(folder)[::113]:
        clip = dataset.clip(row["clip_id"])
        assert clip.clip_id == row["clip_id"]
        assert clip.codes["vocals"].acoustic.ravel().tolist() == row["vocals_acoustic"]
    with pytest.raises(KeyError, match="no-such-clip"):
        dataset.clip("no-such-clip")


def test_a_remote_dataset_is_the_same(folder: Path, remote: str) -> None:
    here, there = open_dataset(str(folder)), open_dataset(remote)
    assert [clip.clip_id for clip in here.clips()] == [clip.clip_id for clip in there.clips()]
    assert here.tracks == there.tracks
    assert all(storage.exists(url) for url in there.files())


def test_a_split_without_clips_and_an_unknown_one(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    assert list(dataset.clips("test")) == []
    assert sum(1 for _ in dataset.clips("train")) == 600
    with pytest.raises(ValueError, match=r"\['test', 'train'\], not 'dev'"):
        list(dataset.clips("dev"))


def test_recipe_geometry_and_fields_are_typed(folder: Path) -> None:
    dataset = open_dataset(str(folder))
    assert dataset.recipe.encode.clip_seconds == 1.0
    assert dataset.geometry == SMALL
    assert {field.name: field.shape for field in dataset.fields}["vocals_semantic"] == (5,)
    assert dataset.parts == str(folder / "parts")


def test_an_unknown_dataset_and_an_unknown_version(folder: Path, tmp_path: Path) -> None:
    for url, version in ((str(tmp_path), None), (str(folder), "0" * 12)):
        with pytest.raises(DatasetMissingError, match="does not exist"):
            open_dataset(url, version)
    digest = open_dataset(str(folder)).manifest.dataset_digest
    assert open_dataset(str(folder), digest[:12]).manifest.dataset_digest == digest


def test_the_files_of_a_version_are_a_dataset(folder: Path, tmp_path: Path) -> None:
    dataset = open_dataset(str(folder))
    files = [Path(path) for path in dataset.files()]
    assert len(files) == 1 + 2 + len(dataset.shards)
    for path in files:
        copy = tmp_path / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    copied = open_dataset(str(tmp_path), dataset.manifest.dataset_digest[:12])
    assert sum(1 for _ in copied.clips()) == 600


def test_tracks_and_failures_are_typed(prepare: Prepare, tmp_path: Path) -> None:  # noqa: F811
    paths = write_tones(tmp_path / "music", tracks=2)
    (tmp_path / "music" / "empty.wav").write_bytes(b"")
    (tmp_path / "music" / "copy.wav").write_bytes(paths[0].read_bytes())
    flags = ("--max-failure-rate", "1", "--store-audio")
    assert prepare(tmp_path / "music", flags=flags) == 0
    dataset = open_dataset(str(tmp_path / "dataset"))
    assert [track.status for track in dataset.tracks] == [
        TrackStatus.ENCODED,
        TrackStatus.FAILED,
        TrackStatus.DUPLICATE,
        TrackStatus.ENCODED,
    ]
    assert [track.reason for track in dataset.tracks] == [None, FailureReason.EMPTY, None, None]
    (failure,) = dataset.failures
    assert (failure.reason, failure.stage) == (FailureReason.EMPTY, Stage.LIST_TRACKS)
    assert failure.clip_index is None
    for clip in dataset.clips():
        assert all(codes.flac[:4] == b"fLaC" for codes in clip.codes.values() if codes.flac)
        assert all(codes.flac for codes in clip.codes.values())
    assert "clips" in repr(dataset)
    assert isinstance(dataset, Dataset)
