"""The flags of a recipe name models as a dataset keeps them."""

import argparse

import pytest

from singsong.pipelines.recipe_arguments import add_recipe_arguments, recipe_from
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe


def recipe(*flags: str) -> EncodeRecipe:
    parser = argparse.ArgumentParser()
    add_recipe_arguments(parser)
    return recipe_from(parser.parse_args(flags)).encode


def test_no_flags_are_the_default_recipe() -> None:
    assert recipe() == DatasetRecipe().encode


@pytest.mark.parametrize(
    ("flags", "acoustic", "semantic"),
    [
        (("--acoustic", "lite"), "lite:2", "lite:1"),
        (("--acoustic", "lite,coarse=2", "--semantic", "lite"), "lite:2,coarse=2", "lite:1"),
        (("--acoustic", "lite:1"), "lite:1", "lite:1"),
        (("--acoustic", "lite:my.safetensors"), "lite:my.safetensors", "lite:1"),
        (("--acoustic", "lyra:lyra"), "lyra:lyra", "lite:1"),
    ],
)
def test_lite_gets_the_number_of_its_newest_weights(
    flags: tuple[str, ...], acoustic: str, semantic: str
) -> None:
    found = recipe(*flags)
    assert (str(found.acoustic), str(found.semantic)) == (acoustic, semantic)


def test_stereo_and_no_separator_are_flags() -> None:
    assert recipe("--stereo").stereo is True
    assert recipe("--separator", "none").separator is None
    assert recipe("--profile", "paper").separator is not None
