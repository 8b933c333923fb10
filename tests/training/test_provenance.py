"""What a model says about the codes it was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from singsong.dataset.handle import Dataset
from singsong.dataset.manifest import Manifest, read_manifest
from singsong.generation.song_windows import window_layout
from singsong.training.featurization import FEATURIZATIONS, Featurization
from singsong.training.provenance import Provenance, code_differences, differences
from tests.support.trained import provenance_of, write_trainable


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(str(write_trainable(tmp_path_factory.mktemp("dataset"))))


@pytest.mark.parametrize("name", FEATURIZATIONS)
def test_windows_are_read_and_written_as_clips_are(name: str, manifest: Manifest) -> None:
    """At inference no dataset is at hand; the tokens are the same as the loader's."""
    provenance = Provenance.from_json(provenance_of(manifest, name).to_json())
    featurizer = Featurization(name=name).of(Dataset("nowhere", manifest))
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
    provenance = Provenance.of(manifest, {"crop_seconds": 0.5})
    assert provenance.chunk_frames == 2
    assert provenance.fine_vocabulary.codebooks == 3


def test_differences_are_named(manifest: Manifest) -> None:
    one = provenance_of(manifest)
    recipe = {**one.recipe, "encode": {**one.recipe["encode"], "noise_sigma": 0.5}}
    other = replace(one, recipe=recipe, weights={**one.weights, "acoustic": "zzz"})
    grown = replace(one, dataset_digest="another")
    assert differences(one, grown) == []
    assert differences(one, other) == [
        "recipe.encode.noise_sigma: 0.01 -> 0.5",
        "weights.acoustic: aaa -> zzz",
    ]
    assert code_differences(one, other) == ["weights.acoustic: aaa -> zzz"]
    assert code_differences(one, replace(one, recipe=recipe)) == []
