import dataclasses

import pytest

from singsong.schemas.json_values import recipe_differences
from singsong.schemas.recipe import (
    NO_FILTER,
    DatasetRecipe,
    EncodeRecipe,
    LoudnessFilter,
    LoudnessWindow,
    ModelSpec,
    encode_digest,
    recipe_from_json,
    recipe_json,
)
from singsong.schemas.separation import NO_SEPARATION_LIMITS

LITE = {"separator": "spleeter", "acoustic": "lite:2", "semantic": "lite:1"}


def test_defaults_are_those_of_the_paper() -> None:
    recipe = DatasetRecipe()
    assert recipe.encode.clip_seconds == 10.0
    assert recipe.encode.mix_rate_hz == 44100
    assert recipe.encode.noise_sigma == 0.01
    assert recipe.dataset_filter == LoudnessFilter(
        min_instrumental_db=-25.0, max_vocals_above_db=5.0
    )
    assert recipe.encode.sources == ("vocals", "vocals_noisy", "instrumental")


def test_without_separation_the_mix_is_the_only_source() -> None:
    assert EncodeRecipe(separator=None, clip_seconds=30).sources == ("mix",)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("lite", ModelSpec(name="lite")),
        ("dac:descript/dac_16khz", ModelSpec(name="dac", source="descript/dac_16khz")),
        (
            "hubert:/models/h,layer=7,codebook=/c.safetensors",
            ModelSpec(
                name="hubert",
                source="/models/h",
                options=(("codebook", "/c.safetensors"), ("layer", "7")),
            ),
        ),
    ],
)
def test_model_spec_reads_what_it_writes(text: str, spec: ModelSpec) -> None:
    assert ModelSpec.parse(text) == spec
    assert ModelSpec.parse(str(spec)) == spec


def test_a_path_may_begin_with_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    spec = ModelSpec.parse("w2v-bert:~/models/w2v,codebook=~/b.safetensors")
    assert str(spec) == "w2v-bert:/home/ada/models/w2v,codebook=/home/ada/b.safetensors"
    assert ModelSpec.parse("lite:a~/b").source == "a~/b"


@pytest.mark.parametrize("text", ["", ":x", "lite,layer", "lite,=7", "lite,layer=", "a,b=1,b=2"])
def test_wrong_model_specs_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"model"):
        ModelSpec.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_seconds": 0.0},
        {"clip_seconds": float("nan")},
        {"clip_seconds": 601.0},
        {"mix_rate_hz": 0},
        {"noise_sigma": -0.1},
        {"noise_sigma": 1.0},
        {"dtype": "float16"},
        {"batch_clips": 0},
    ],
)
def test_wrong_encode_recipes_are_refused(wrong: dict) -> None:
    (field,) = wrong
    with pytest.raises(ValueError, match=field):
        EncodeRecipe(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"splits": ()},
        {"splits": (("a", 1.0), ("a", 1.0))},
        {"splits": (("../a", 1.0),)},
        {"splits": (("a", -1.0), ("b", 2.0))},
        {"splits": (("a", 0.0),)},
        {"splits": (("a", float("nan")),)},
        {"clips_per_shard": 0},
        {"formats": ()},
        {"formats": ("csv",)},
    ],
)
def test_wrong_dataset_recipes_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"split|clips_per_shard|formats"):
        DatasetRecipe(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0.0}, {"hop_fraction": 0.0}, {"hop_fraction": 1.5}, {"kind": "hann"}]
)
def test_wrong_windows_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LoudnessWindow(**wrong)


def test_nan_thresholds_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        LoudnessFilter(min_instrumental_db=float("nan"))


def digest(recipe: EncodeRecipe, **rest: dict) -> str:
    return encode_digest(recipe, **{"weights": {}, "arithmetic": {}, **rest})


def test_every_field_changes_the_digest_but_the_place_of_a_model_does_not() -> None:
    base = EncodeRecipe()
    changes = {
        "clip_seconds": 5.0,
        "mix_rate_hz": 48000,
        "separator": None,
        "stereo": True,
        "acoustic": ModelSpec(name="dac"),
        "semantic": ModelSpec(name="hubert"),
        "noise_sigma": 0.0,
        "noise_seed": 1,
        "window": LoudnessWindow(seconds=0.1),
        "separation": NO_SEPARATION_LIMITS,
        "store_audio": True,
        "device": "cuda",
        "dtype": "bfloat16",
        "batch_clips": 8,
    }
    assert set(changes) == {field.name for field in dataclasses.fields(EncodeRecipe)}
    digests = {digest(dataclasses.replace(base, **{k: v})) for k, v in changes.items()}
    assert len(digests | {digest(base)}) == len(changes) + 1
    assert digest(base, weights={"acoustic": "a"}) != digest(base, weights={"acoustic": "b"})
    assert digest(base, arithmetic={"noise": 1}) != digest(base, arithmetic={"noise": 2})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"acoustic": ModelSpec.parse("dac:a")}, {"acoustic": ModelSpec.parse("dac:/elsewhere")}),
        ({"acoustic": ModelSpec.parse("dac:a")}, {"acoustic": ModelSpec.parse("dac:a,coarse=2")}),
        ({"device": "cuda"}, {"device": "cuda:3"}),
    ],
)
def test_what_changes_no_code_changes_no_digest(one: dict, other: dict) -> None:
    assert digest(EncodeRecipe(**one)) == digest(EncodeRecipe(**other))


def test_a_recipe_survives_json() -> None:
    recipe = DatasetRecipe(
        encode=EncodeRecipe(clip_seconds=5),
        dataset_filter=NO_FILTER,
        splits=(("train", 3.0), ("test", 1.0)),
    )
    assert recipe_from_json(recipe_json(recipe), LITE) == recipe


def test_differences_name_the_field() -> None:
    old, new = recipe_json(DatasetRecipe()), recipe_json(DatasetRecipe(clips_per_shard=1))
    assert recipe_differences(old, new) == ["clips_per_shard: 8192 -> 1"]
    assert recipe_differences(old, old) == []
