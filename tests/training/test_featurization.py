"""Each view against tokens that are put together one by one."""

from typing import Any

import numpy as np
import pytest

from benchmarks.support.code_dataset import PAPER, SMALL
from singsong.dataset.counts import Counts
from singsong.dataset.handle import Dataset
from singsong.dataset.manifest import Manifest
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, recipe_json
from singsong.schemas.records import Geometry
from singsong.training.featurization import FEATURIZATIONS, Featurization, FineCrops
from singsong.training.featurizer import RandomCrops, featurizer_of

SOUNDS = {"separator": "spleeter", "acoustic": "lite", "semantic": "lite"}
LENGTHS = {
    "SA-SA": (2250, 2250),
    "S-SA": (250, 2250),
    "A-SA": (2000, 2250),
    "SA-A": (2250, 2000),
    "A-A": (2000, 2000),
}


def dataset_of(
    geometry: Geometry = PAPER,
    *,
    recipe: EncodeRecipe = EncodeRecipe(),  # noqa: B008
) -> Dataset:
    roles = {role: name for role, name in SOUNDS.items() if getattr(recipe, role)}
    manifest = Manifest(
        recipe=recipe_json(DatasetRecipe(encode=recipe)),
        weights={},
        geometry=geometry.to_json(),
        counts=Counts(),
        splits={},
        shards=(),
        tables=(),
        origin=roles,
        software={},
    )
    return Dataset("nowhere", manifest)


def crops_of(view: FineCrops, dataset: Dataset, *, seed: int = 0) -> RandomCrops:
    crops = featurizer_of(view, dataset, seed=seed).crops
    assert crops is not None
    return crops


def random_rows(dataset: Dataset, *, rows: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    codes = {
        field.name: random.integers(0, field.codebook_size, (rows, *field.shape), dtype=np.uint16)
        for field in dataset.fields
        if field.kind == "codes"
    }
    return {"clip_id": [f"clip-{row}" for row in range(rows)], **codes}


def tokens_by_hand(rows: dict[str, Any], row: int, *, source: str, kinds: str) -> list[int]:
    """Item 12 of the paper's list, in so many words."""
    tokens = []
    if "S" in kinds:
        tokens += [2 + int(code) for code in rows[f"{source}_semantic"][row]]
    if "A" in kinds:
        for frame in rows[f"{source}_acoustic"][row]:
            tokens += [1026 + 1024 * q + int(frame[q]) for q in range(4)]
    return tokens


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("name", FEATURIZATIONS)
def test_the_tokens_are_those_of_the_paper(name: str, noisy: bool) -> None:
    dataset = dataset_of()
    rows = random_rows(dataset, rows=3)
    featurizer = featurizer_of(Featurization(name=name, noisy=noisy), dataset)
    features = featurizer.features(rows, epoch=0)
    vocals = "vocals_noisy" if noisy else "vocals"
    inputs, targets = name.split("-")
    for row in range(3):
        want = tokens_by_hand(rows, row, source=vocals, kinds=inputs)
        assert features["input_tokens"][row].tolist() == want
        want = tokens_by_hand(rows, row, source="instrumental", kinds=targets)
        assert features["target_tokens"][row].tolist() == want
    lengths = (features["input_tokens"].shape[1], features["target_tokens"].shape[1])
    assert lengths == tuple(featurizer.lengths.values()) == LENGTHS[name]
    assert {field.name for field in featurizer.fields} < set(rows)


@pytest.mark.parametrize("name", FEATURIZATIONS)
def test_every_target_lies_in_the_range_of_its_position(name: str) -> None:
    dataset = dataset_of()
    featurizer = featurizer_of(Featurization(name=name), dataset)
    tokens = featurizer.features(random_rows(dataset, rows=2), epoch=0)["target_tokens"]
    first, end = featurizer.target_tokens.ranges.T
    assert ((first <= tokens) & (tokens < end)).all()
    assert (end - first).tolist() == [1024] * tokens.shape[1]


def test_lengths_follow_from_the_geometry() -> None:
    dataset = dataset_of(SMALL, recipe=EncodeRecipe(clip_seconds=2.0))
    featurizer = featurizer_of(Featurization(name="SA-SA"), dataset)
    assert featurizer.lengths == {"input_tokens": 10 + 2 * 8, "target_tokens": 10 + 2 * 8}
    assert featurizer.vocabulary.size == 2 + 7 + 2 * 9


def test_a_large_vocabulary_does_not_wrap() -> None:
    value = PAPER.to_json()
    value["acoustic"]["codebook_size"] = 65536
    dataset = dataset_of(Geometry.from_json(value))
    featurizer = featurizer_of(Featurization(name="A-A"), dataset)
    rows = random_rows(dataset, rows=1)
    rows["instrumental_acoustic"][:] = 65535
    tokens = featurizer.features(rows, epoch=0)["target_tokens"]
    assert tokens.max() == featurizer.vocabulary.size - 1 == 2 + 1024 + 4 * 65536 - 1


def test_features_leave_the_codes_as_they_were() -> None:
    dataset = dataset_of()
    rows = random_rows(dataset, rows=2)
    before = {name: np.copy(values) for name, values in rows.items()}
    featurizer_of(Featurization(name="SA-SA"), dataset).features(rows, epoch=0)
    for name, values in rows.items():
        np.testing.assert_array_equal(values, before[name])


def test_an_unknown_featurization() -> None:
    with pytest.raises(ValueError, match="'SA-S'"):
        Featurization(name="SA-S")


def test_a_dataset_without_separation_has_no_vocals() -> None:
    mixes = dataset_of(recipe=EncodeRecipe(separator=None))
    with pytest.raises(ValueError, match="no vocals_noisy_semantic"):
        featurizer_of(Featurization(), mixes)
    with pytest.raises(ValueError, match="no instrumental_acoustic"):
        featurizer_of(FineCrops(), mixes)


def test_a_crop_holds_coarse_tokens_and_then_fine_ones() -> None:
    dataset = dataset_of()
    featurizer = featurizer_of(FineCrops(), dataset, seed=3)
    assert featurizer.crops is not None
    assert [field.name for field in featurizer.fields] == ["clip_id", "instrumental_acoustic"]
    rows = random_rows(dataset, rows=4)
    features = featurizer.features(rows, epoch=5)
    given, predicted = features["input_tokens"], features["target_tokens"]
    assert (given.shape, predicted.shape) == ((4, 600), (4, 1200))
    for row, clip in enumerate(rows["clip_id"]):
        start = featurizer.crops.crop_start(clip, 5)
        crop = rows["instrumental_acoustic"][row, start : start + 150]
        coarse = [2 + 1024 * q + int(frame[q]) for frame in crop for q in range(4)]
        fine = [2 + 1024 * q + int(frame[q]) for frame in crop for q in range(4, 12)]
        assert given[row].tolist() == coarse
        assert predicted[row].tolist() == fine
    for tokens, sequence in (
        (given, featurizer.input_tokens),
        (predicted, featurizer.target_tokens),
    ):
        first, end = sequence.ranges.T
        assert ((first <= tokens) & (tokens < end)).all()
    assert featurizer.first_scored == 2 + 4 * 1024


def test_crops_depend_on_seed_epoch_and_clip_alone() -> None:
    dataset = dataset_of()
    one, other = (crops_of(FineCrops(), dataset, seed=seed) for seed in (0, 1))
    starts = [one.crop_start(f"clip-{number}", 0) for number in range(2000)]
    assert (min(starts), max(starts)) == (0, 350)
    assert np.mean(starts) == pytest.approx(175, abs=10)
    assert one.crop_start("clip-0", 0) == starts[0]
    assert len({one.crop_start("clip-0", epoch) for epoch in range(5)}) > 1
    assert starts[:5] != [other.crop_start(f"clip-{number}", 0) for number in range(5)]


def test_a_crop_of_the_whole_clip() -> None:
    assert crops_of(FineCrops(seconds=10.0), dataset_of()).crop_start("clip-0", 0) == 0


def test_a_crop_that_is_longer_than_a_clip() -> None:
    with pytest.raises(ValueError, match="501 frames, a clip has 500"):
        featurizer_of(FineCrops(seconds=10.02), dataset_of())


def test_a_crop_of_no_length() -> None:
    with pytest.raises(ValueError, match=r"positive, found 0\.0"):
        FineCrops(seconds=0.0)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({}, KeyError, "crop_seconds"),
        ({"crop_seconds": "3"}, TypeError, "must be a number, found '3'"),
        ({"crop_seconds": -1.0}, ValueError, "must be positive"),
    ],
)
def test_stored_crops_that_are_broken(
    value: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        FineCrops.from_json(value)
    with pytest.raises(KeyError, match="noisy"):
        Featurization.from_json({"featurization": "A-A"})
