"""Datasets of every schema version are read by their own fields, and newer ones are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import singsong
from singsong.dataset.handle import open_dataset
from singsong.dataset.manifest import DatasetError, Manifest
from singsong.dataset.verify import verify_dataset
from singsong.schemas.records import READABLE_VERSIONS, SCHEMA_VERSION, record_fields
from singsong.schemas.separation import NO_SEPARATION_LIMITS
from tests.support.small_dataset import MODELS, RECIPE, write_small_dataset

VERSION_1 = Path(__file__).with_name("version_1")
"""Made by `write_small_dataset(folder, tracks=3)` of the last commit that wrote version 1."""

NEW = {
    "mix_dc_offset",
    "mix_clipped_fraction",
    "mix_bandwidth_hz",
    "vocals_active_fraction",
    "vocals_lag_ms",
    "vocals_gain_in_mix",
    "vocals_excess_fraction",
    "vocals_above_mix_db",
}


def test_a_dataset_of_version_1_opens_verifies_and_iterates(tmp_path: Path) -> None:
    folder = shutil.copytree(VERSION_1, tmp_path / "old")
    dataset = open_dataset(str(folder))
    assert dataset.manifest.schema_version == 1
    assert dataset.recipe.encode.separation == NO_SEPARATION_LIMITS
    assert list(verify_dataset(dataset)) == []
    clips = list(dataset.clips())
    assert len(clips) == len(dataset) == 6
    for clip in clips:
        assert clip.sum_error is not None
        assert clip.sum_error < 1e-6
        assert clip.vocals_peak_rms_db is not None
        assert {getattr(clip, name) for name in NEW} == {None}
        assert clip.codes["vocals"].acoustic.shape == (20, 2)
        found = dataset.clip(clip.clip_id)
        assert np.array_equal(found.codes["vocals"].semantic, clip.codes["vocals"].semantic)


def test_a_dataset_of_version_1_can_be_trained_on(tmp_path: Path) -> None:
    folder = shutil.copytree(VERSION_1, tmp_path / "old")
    view = singsong.Featurization(name="S-SA")
    batches = singsong.ShardDataset(str(folder), view, singsong.LoaderConfig(batch_size=2))
    assert next(iter(batches))["input_tokens"].shape == (2, 10)


def test_the_same_dataset_of_today_has_the_new_figures(tmp_path: Path) -> None:
    write_small_dataset(tmp_path, tracks=3)
    dataset = open_dataset(str(tmp_path))
    assert dataset.manifest.schema_version == SCHEMA_VERSION == 2
    for clip in dataset.clips():
        assert clip.sum_error is None
        assert None not in {getattr(clip, name) for name in NEW}
        assert clip.mix_dc_offset == pytest.approx(0, abs=1e-3)


def test_the_versions_differ_in_these_fields() -> None:
    names = {
        version: [
            field.name
            for field in record_fields(RECIPE.encode, MODELS.geometry, schema_version=version)
        ]
        for version in READABLE_VERSIONS
    }
    assert set(names[2]) - set(names[1]) == NEW
    assert set(names[1]) - set(names[2]) == {"sum_error"}
    assert [name for name in names[1] if name in names[2]] == [
        name for name in names[2] if name in names[1]
    ]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (3, "schema version 3, this program reads the versions 1, 2: upgrade singsong to read it"),
        (99, "upgrade singsong"),
        (0, "schema version 0, this program reads the versions 1, 2$"),
        ("2", "schema version 2, this program reads"),
    ],
)
def test_other_versions_are_refused_in_a_sentence(version: object, message: str) -> None:
    value = json.loads((VERSION_1 / "manifest.json").read_text())
    value["schema_version"] = version
    with pytest.raises(DatasetError, match=message):
        Manifest.from_json(json.dumps(value))
