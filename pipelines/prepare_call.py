"""`singsong prepare` as a function, for notebooks and scripts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from singsong import storage
from singsong.pipelines.existing import Existing
from singsong.pipelines.places import absolute
from singsong.pipelines.prepare import prepare as run
from singsong.pipelines.prepare_config import PrepareConfig
from singsong.pipelines.recipe_arguments import PROFILES
from singsong.runners.errors import JobFailedError
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import RunnerOptions
from singsong.runners.local import LocalOptions
from singsong.schemas.extras import extra_needed
from singsong.schemas.names import PARTS_FOLDER
from singsong.schemas.recipe import DatasetRecipe, EncodeRecipe, ModelSpec

if TYPE_CHECKING:
    from singsong.dataset.handle import Dataset

Place: TypeAlias = "str | os.PathLike[str]"


def prepare(
    inputs: Place | Sequence[Place],
    *,
    output: Place,
    profile: str | None = None,
    recipe: DatasetRecipe | None = None,
    workers: int = 0,
    runner: RunnerOptions | None = None,
    parts: Place | None = None,
    add: bool = False,
    replace: bool = False,
    max_failure_rate: float = PrepareConfig.max_failure_rate,
    keep_going: bool = PrepareConfig.keep_going,
    max_track_hours: float = PrepareConfig.max_track_hours,
) -> Dataset:
    """Turns music into a dataset of codes and returns the dataset.

    This is `singsong prepare`: the same settings give the same bytes, and a call after an
    interruption resumes. It shows the same progress and prints the same summary.

    Args:
        inputs: Files, folders, globs and fsspec URLs.
        output: Folder or URL of the dataset.
        profile: Which models: "lite", "paper" or "hifi"; None means "lite".
        recipe: All settings, instead of a profile.
        workers: How many tracks are encoded at once on this machine; 0 takes one per core.
        runner: Where to run instead: `SparkOptions`, `DataflowOptions` or `LocalOptions`, from
            `singsong.runners`.
        parts: Folder or URL of the parts; None keeps them in the output.
        add: Whether the tracks that a dataset in the output has already are kept.
        replace: Whether the inputs alone become its newest version, whatever its recipe.
        max_failure_rate: Above this share of failed tracks or clips, the call raises.
        keep_going: Whether to go on if most of the first tracks fail or are dropped whole.
        max_track_hours: A file that decodes to more is refused.

    Returns:
        The dataset, opened.

    Raises:
        ValueError: A setting is out of range, an input does not exist, a model cannot be loaded,
            or the output holds a dataset that this one may not follow.
        JobFailedError: A step failed for good, most of the first tracks were of no use, no clip is
            left, or more tracks or clips failed than `max_failure_rate`; the dataset is written in
            the last case.
        KeyboardInterrupt: The job was interrupted.
        DatasetError: The job was only submitted, so there is no dataset yet.
        MissingLibraryError: A library is not installed; the message names the extra to install.

    >>> import singsong
    >>> dataset = singsong.prepare("music", output="new")  # doctest: +ELLIPSIS
    tracks listed ...
    >>> len(dataset)
    2
    """
    folder = absolute(os.fspath(output))
    config = PrepareConfig(
        inputs=tuple(os.fspath(place) for place in _several(inputs)),
        output=folder,
        parts=absolute(os.fspath(parts)) if parts else storage.join(folder, PARTS_FOLDER),
        recipe=_recipe(profile, recipe),
        runner=_runner(runner, workers=workers),
        existing=_existing(add=add, replace=replace),
        max_failure_rate=max_failure_rate,
        keep_going=keep_going,
        max_track_hours=max_track_hours,
    )
    return _prepared(config)


def _prepared(config: PrepareConfig) -> Dataset:
    from singsong.dataset.handle import open_dataset

    with extra_needed("prepare", by="singsong.prepare"):
        code = run(config)
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code == ExitCode.FAILED_TRACKS:
        raise JobFailedError("too many tracks or clips failed: see what was printed")
    if code != ExitCode.DONE:
        raise JobFailedError("nothing was committed: see what was printed")
    return open_dataset(config.output)


def profile_recipe(profile: str) -> DatasetRecipe:
    """Returns the recipe of a profile, with the defaults of `singsong prepare`.

    Args:
        profile: "lite", "paper" or "hifi".

    Raises:
        ValueError: There is no such profile.

    >>> str(profile_recipe("paper").encode.acoustic)
    'dac:descript/dac_16khz'
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {sorted(PROFILES)}, found {profile!r}")
    models = PROFILES[profile]
    return DatasetRecipe(
        encode=EncodeRecipe(
            separator=ModelSpec.parse(models["separator"]),
            acoustic=ModelSpec.parse(models["acoustic"]),
            semantic=ModelSpec.parse(models["semantic"]),
        )
    )


def _recipe(profile: str | None, recipe: DatasetRecipe | None) -> DatasetRecipe:
    if recipe is None:
        return profile_recipe(profile or "lite")
    if profile is not None:
        raise ValueError("prepare takes either a profile or a recipe, found both")
    return recipe


def _existing(*, add: bool, replace: bool) -> Existing:
    if add and replace:
        raise ValueError("prepare either adds to a dataset or replaces it: found both")
    return Existing.ADD if add else Existing.REPLACE if replace else Existing.REFUSE


def _several(inputs: Place | Sequence[Place]) -> Sequence[Place]:
    return [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs


def _runner(runner: RunnerOptions | None, *, workers: int) -> RunnerOptions:
    if runner is None:
        return LocalOptions(workers=workers)
    if workers:
        raise ValueError("workers is for this machine: set it in the options of the runner")
    return runner
