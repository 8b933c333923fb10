"""What a model says about the codes it was trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from singsong.dataset.handle import Dataset, open_dataset
from singsong.dataset.manifest import Manifest
from singsong.generation.song_windows import window_layout
from singsong.training.featurization import FEATURIZATIONS, Featurization, FineCrops
from singsong.training.featurizer import featurizer_of
from singsong.training.provenance import (
    Provenance,
    code_differences,
    differences,
    read_provenance,
)
from tests.support.accompanying import save_accompaniment, save_fine
from tests.support.trained import provenance_of, write_trainable


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(str(write_trainable(tmp_path_factory.mktemp("dataset"))))


@pytest.fixture(scope="module")
def manifest(dataset: Dataset) -> Manifest:
    return dataset.manifest


@pytest.mark.parametrize("name", FEATURIZATIONS)
def test_windows_are_read_and_written_as_clips_are(name: str, dataset: Dataset) -> None:
    """At inference no dataset is at hand; the tokens are the same as the loader's."""
    stored = provenance_of(dataset.manifest, name)
    provenance = Provenance.from_json(stored.to_json(), stored.view.kind)
    assert provenance == stored
    featurizer = featurizer_of(Featurization(name=name), dataset)
    random = np.random.default_rng(0)
    semantic, acoustic = random.integers(0, 7, (2, 5)), random.integers(0, 9, (2, 4, 3))
    rows = {"vocals_noisy_semantic": semantic, "vocals_noisy_acoustic": acoustic}
    np.testing.assert_array_equal(
        provenance.source_tokens(semantic=semantic, acoustic=acoustic),
        featurizer.input_tokens.tokens(rows),
    )
    hop = 1.0  # five semantic frames have no half
    np.testing.assert_array_equal(
        window_layout(provenance, hop).ranges(provenance.vocabulary),
        featurizer.target_tokens.ranges,
    )


def test_the_fine_model_knows_its_chunks(manifest: Manifest) -> None:
    stored = Provenance.of(manifest, FineCrops(seconds=0.5))
    assert stored.to_json()["view"] == {"crop_seconds": 0.5}
    provenance = Provenance.from_json(stored.to_json(), stored.view.kind)
    assert provenance == stored
    assert provenance.chunk_frames() == 2
    assert provenance.fine_vocabulary.codebooks == 3


def test_differences_are_named(manifest: Manifest) -> None:
    one = provenance_of(manifest)
    recipe = replace(one.recipe, encode=replace(one.recipe.encode, noise_sigma=0.5))
    other = replace(one, recipe=recipe, weights={**one.weights, "acoustic": "zzz"})
    grown = replace(one, dataset_digest="another")
    assert differences(one, grown) == []
    assert differences(one, other) == [
        "recipe.encode.noise_sigma: 0.01 -> 0.5",
        "weights.acoustic: aaa -> zzz",
    ]
    assert code_differences(one, other) == ["weights.acoustic: aaa -> zzz"]
    assert code_differences(one, replace(one, recipe=recipe)) == []


def test_the_stored_recipe_is_that_of_the_dataset(manifest: Manifest) -> None:
    """Value by value, so that it can be compared with the recipe of another dataset."""
    assert provenance_of(manifest).to_json()["recipe"] == manifest.recipe


def test_the_kind_is_read_from_the_type_of_the_model(tmp_path: Path) -> None:
    accompaniment, fine = save_accompaniment(tmp_path / "a"), save_fine(tmp_path / "b")
    assert read_provenance(accompaniment, Featurization).view == Featurization()
    assert read_provenance(fine, FineCrops).view == FineCrops(seconds=0.5)
    with pytest.raises(ValueError, match="holds a fine model, not an accompaniment model"):
        read_provenance(fine, Featurization)
    with pytest.raises(ValueError, match="holds an accompaniment model, not a fine model"):
        read_provenance(accompaniment, FineCrops)
