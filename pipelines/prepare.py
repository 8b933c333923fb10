"""Turns music into a versioned dataset of codes.

    singsong prepare ~/Music --output dataset

Every file becomes one part file below `dataset/parts`, named by its content and the recipe; parts
that exist are not made again, so the same command goes on after a crash. The parts are then
assembled into shards, and `dataset/manifest.json`, written last, is the dataset.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import apache_beam as beam

from singsong import storage
from singsong.dataset.manifest import DatasetError, Manifest, read_manifest
from singsong.dataset.summary import print_summary
from singsong.models.bundle import Models, load_models
from singsong.pipelines.recipe_arguments import add_recipe_arguments, recipe_from
from singsong.pipelines.runner_arguments import (
    add_runner_arguments,
    parse_arguments,
    runner_options_from,
)
from singsong.runners.errors import STOPPED_EXIT_CODE, JobStoppedError
from singsong.runners.job import Job, RunnerOptions
from singsong.runners.local import set_up_process
from singsong.schemas.names import PARTS_FOLDER
from singsong.schemas.recipe import DatasetRecipe, recipe_differences, recipe_json
from singsong.transforms.assemble_shards import AssembleConfig, AssembleShards, total
from singsong.transforms.encode_track import EncodeTrack, EncodeTrackConfig
from singsong.transforms.known_tracks import ReadKnownTracks
from singsong.transforms.list_tracks import ListTracks, list_source_files, names_a_file

FAILURES_EXIT_CODE = 3
NO_AUDIO_REASONS = ("not_audio",)
"""Reasons that do not count as failures: folders of music hold covers and notes."""


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """What `prepare` does.

    Attributes:
        inputs: Files, folders, globs and fsspec URLs.
        output: Folder or URL of the dataset.
        parts: Folder or URL of the parts.
        recipe: How.
        runner: Where.
        new_version: Whether a dataset with another recipe may be followed by this one.
        max_failure_rate: Above this part of failed tracks, the exit code says so.
        retry_of: Table of tracks of the version whose failed inputs these are; the others are taken
            over as they are. None prepares the inputs alone.

    Raises:
        ValueError: There is no input, or the rate is outside [0, 1].
    """

    inputs: tuple[str, ...]
    output: str
    parts: str
    recipe: DatasetRecipe
    runner: RunnerOptions
    new_version: bool = False
    max_failure_rate: float = 0.1
    retry_of: str | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("prepare needs at least one file or folder of music")
        if not 0 <= self.max_failure_rate <= 1:
            raise ValueError(f"max_failure_rate must be in [0, 1], found {self.max_failure_rate}")

    @property
    def origin(self) -> dict[str, str]:
        """Where the models and the parts are, for `singsong retry`."""
        encode = self.recipe.encode
        specs = {"acoustic": encode.acoustic, "semantic": encode.semantic}
        if encode.separator is not None:
            specs["separator"] = encode.separator
        default = storage.join(self.output, PARTS_FOLDER)
        parts = PARTS_FOLDER if self.parts == default else self.parts
        return {"parts": parts, **{role: str(spec) for role, spec in specs.items()}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong prepare`."""
    parser.add_argument("inputs", nargs="+", metavar="MUSIC", help="files, folders, globs or URLs")
    parser.add_argument("--output", required=True, metavar="DATASET", help="folder or URL")
    parser.add_argument("--parts", metavar="FOLDER", help="share parts between datasets")
    parser.add_argument(
        "--new-version",
        action="store_true",
        help="allow another recipe than that of the dataset in DATASET; its versions stay readable",
    )
    parser.add_argument(
        "--max-failure-rate",
        type=float,
        default=PrepareConfig.max_failure_rate,
        help="a larger part of failed tracks makes the exit code 3",
    )
    add_recipe_arguments(parser)
    add_runner_arguments(parser)


def config_from(args: argparse.Namespace) -> PrepareConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    output = _absolute(args.output)
    return PrepareConfig(
        inputs=tuple(args.inputs),
        output=output,
        parts=_absolute(args.parts) if args.parts else storage.join(output, PARTS_FOLDER),
        recipe=recipe_from(args),
        runner=runner_options_from(args),
        new_version=args.new_version,
        max_failure_rate=args.max_failure_rate,
    )


def build(
    pipeline: beam.Pipeline, *, config: PrepareConfig, models: Models, progress: str | None = None
) -> beam.PCollection:
    """Adds the job to a pipeline and returns its manifest.

    Args:
        pipeline: Beam's pipeline.
        config: What to do.
        models: The models of the recipe, for their geometry and the hashes of their weights.
        progress: Folder of this machine to report progress to.
    """
    weights = tuple(sorted(models.weights.items()))
    retry = config.retry_of is not None
    listed = pipeline | "ListTracks" >> ListTracks(config.inputs, only_files=retry)
    encode = EncodeTrack(
        EncodeTrackConfig(
            recipe=config.recipe.encode,
            weights=weights,
            parts=config.parts,
            progress=progress,
            start_process=set_up_process,
            redo_failed_clips=retry,
        )
    ).with_resource_hints(**config.runner.encode_hints)
    encoded = listed["tracks"] | "EncodeTracks" >> encode
    known = pipeline | "ReadKnownTracks" >> ReadKnownTracks(
        config.retry_of, except_uris=config.inputs
    )
    return {
        "parts": (encoded["parts"], known["parts"]) | "AllParts" >> beam.Flatten(),
        "duplicates": (listed["duplicates"], known["duplicates"])
        | "AllDuplicates" >> beam.Flatten(),
        "dead_letters": (listed["dead_letters"], encoded["dead_letters"])
        | "AllDeadLetters" >> beam.Flatten(),
        "listed": (listed["listed"], known["listed"])
        | "AllListed" >> beam.Flatten()
        | "SumListed" >> beam.CombineGlobally(total),
    } | "AssembleShards" >> AssembleShards(
        AssembleConfig(
            recipe=config.recipe,
            weights=weights,
            geometry=models.geometry,
            parts=config.parts,
            dataset=config.output,
            origin=tuple(sorted(config.origin.items())),
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `singsong prepare` and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="singsong prepare",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    return run(config_from(parse_arguments(parser, argv)))


def run(config: PrepareConfig) -> int:
    """Prepares a dataset, prints a summary and returns the exit code.

    Raises:
        ValueError: An input does not exist, a model cannot be loaded, or the dataset in the output
            has another recipe.
        JobFailedError: A step failed for good.
    """
    check_places(config.inputs, (config.output, config.parts))
    tracks, size_bytes = _count_inputs(config)
    set_up_process()
    models = _models_of(config)
    check_output(config)
    try:
        outcome = config.runner.run(
            Job(
                name="prepare",
                build=lambda pipeline, progress: build(
                    pipeline, config=config, models=models, progress=progress
                ),
                total_tracks=tracks,
                total_bytes=size_bytes,
                reads=config.inputs,
                writes={"--output": config.output, "--parts": config.parts},
                weights=models.weights,
                device=config.recipe.encode.device,
            )
        )
    except JobStoppedError:
        print("Stopped. What is done is kept: run the same command again to go on.")
        return STOPPED_EXIT_CODE
    if not outcome.finished:
        return 0
    manifest = read_manifest(config.output)
    print_summary(manifest, counters=outcome.counters, output=config.output)
    return exit_code(manifest, max_failure_rate=config.max_failure_rate)


def check_places(inputs: Sequence[str], places: Sequence[str]) -> None:
    """Checks that what is written does not lie in what is read, and would be read the next time.

    Args:
        inputs: Files, folders, globs and URLs that are read.
        places: Folders and URLs that are written to.

    Raises:
        ValueError: It does.
    """
    for url in inputs:
        folder = _absolute(url).rstrip("/") + "/"
        for place in places:
            if f"{_absolute(place)}/".startswith(folder):
                raise ValueError(f"{place} lies in the input {url}: choose another place for it")


def check_output(config: PrepareConfig) -> None:
    """Checks that the output holds nothing yet, or a dataset of the same recipe.

    Raises:
        ValueError: It holds a dataset of another recipe, or its manifest cannot be read.
        OSError: It lies in a bucket that is not there, or may not be listed.
    """
    try:
        before = read_manifest(config.output).recipe
    except DatasetError as error:
        if "does not exist" in str(error):
            storage.check_place(config.output)
            return
        raise ValueError(f"{config.output}: {error}") from error
    differences = recipe_differences(before, recipe_json(config.recipe))
    if differences and not config.new_version:
        raise ValueError(
            f"{config.output} holds a dataset of another recipe ({'; '.join(differences)}). "
            "Choose another --output, or pass --new-version to make this its newest version"
        )


def exit_code(manifest: Manifest, *, max_failure_rate: float) -> int:
    """Returns 0, or 3 with a line on stdout when too much failed or nothing was encoded."""
    tracks = manifest.counts["tracks"]
    failed = sum(
        count for reason, count in tracks["failed"].items() if reason not in NO_AUDIO_REASONS
    )
    candidates = tracks["encoded"] + tracks["duplicate"] + failed
    if not tracks["encoded"]:
        print("No track could be encoded: `singsong dataset show` lists why.")
        return FAILURES_EXIT_CODE
    if failed > max_failure_rate * candidates:
        print(
            f"{failed} of {candidates} tracks failed, more than --max-failure-rate "
            f"{max_failure_rate:g}. `singsong dataset show` lists them; "
            "`singsong retry` runs them again."
        )
        return FAILURES_EXIT_CODE
    return 0


def _models_of(config: PrepareConfig) -> Models:
    """Loads the models for their shapes and hashes, where this machine can.

    The machine that launches workers elsewhere need not have the device they compute on.
    """
    recipe = config.recipe.encode
    return load_models(replace(recipe, device="cpu") if config.runner.remote else recipe)


def _count_inputs(config: PrepareConfig) -> tuple[int, int]:
    """Returns number and size of the input files; zeros where other machines list them.

    Raises:
        ValueError: An input names no file.
    """
    only_files = config.retry_of is not None
    if config.runner.remote:
        for url in config.inputs:
            if not only_files and not names_a_file(url):
                raise ValueError(f"{url} names no file")
        return 0, 0
    files = {}
    for url in config.inputs:
        try:
            found = {
                file.uri: file.size_bytes for file in list_source_files(url, only_files=only_files)
            }
        except FileNotFoundError as error:
            raise ValueError(str(error)) from None
        if not found:
            raise ValueError(f"{url} holds no files")
        files.update(found)
    return len(files), sum(files.values())


def _absolute(url: str) -> str:
    return storage.filesystem(url)[1] if storage.is_local(url) else url.rstrip("/")
