"""Turns music into a versioned dataset of codes.

    singsong prepare ~/Music --output dataset

Each track becomes one part file below `dataset/parts`, named by its content and the recipe. Parts
that exist are not made again, so the same command resumes after a crash. The parts are then
assembled into shards, and `dataset/manifest.json`, written last, is the dataset.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from singsong import storage
from singsong.pipelines.job_run import is_failure, run_job
from singsong.pipelines.places import (
    absolute,
    check_apart,
    check_output_folder,
    job_files,
    used_files,
)
from singsong.pipelines.recipe_arguments import add_recipe_arguments, recipe_from
from singsong.pipelines.runner_arguments import add_runner_arguments, runner_options_from
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import Job, Outcome, RunnerOptions
from singsong.runners.local import is_debugging, set_up_process
from singsong.schemas.elements import SourceFile
from singsong.schemas.json_values import recipe_differences
from singsong.schemas.names import MANIFEST_NAME, PARTS_FOLDER
from singsong.schemas.recipe import DatasetRecipe, recipe_json
from singsong.transforms.source_files import write_listing

if TYPE_CHECKING:
    import apache_beam as beam

    from singsong.dataset.counts import TrackCounts
    from singsong.models.bundle import Models


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
        max_failure_rate: If a larger fraction of the tracks fails, the exit code says so.
        keep_going: Whether the job goes on if most of its first tracks give nothing.
        retry_of: Table of tracks of the version whose failed inputs these are; its other tracks are
            taken over unchanged. None prepares the inputs alone.
        skipped_before: How many files that version skipped.

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
    keep_going: bool = False
    retry_of: str | None = None
    skipped_before: int = 0

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
    parser.add_argument("--parts", metavar="FOLDER", help="where parts are, to share them")
    parser.add_argument(
        "--new-version",
        action="store_true",
        help="allow a recipe that differs from that of DATASET; its versions stay readable",
    )
    parser.add_argument(
        "--max-failure-rate",
        type=float,
        default=PrepareConfig.max_failure_rate,
        help="exit with 3 if a larger fraction of the tracks fails",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="go on if most of the first tracks fail or are dropped whole; else the job ends there",
    )
    add_recipe_arguments(parser)
    add_runner_arguments(parser)


def config_from(args: argparse.Namespace) -> PrepareConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    output = absolute(args.output)
    return PrepareConfig(
        inputs=tuple(args.inputs),
        output=output,
        parts=absolute(args.parts) if args.parts else storage.join(output, PARTS_FOLDER),
        recipe=recipe_from(args),
        runner=runner_options_from(args),
        new_version=args.new_version,
        max_failure_rate=args.max_failure_rate,
        keep_going=args.keep_going,
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong prepare` and returns its exit code. Raises as `prepare`."""
    return prepare(config_from(args))


def prepare(config: PrepareConfig) -> int:
    """Prepares a dataset, prints a summary and returns the exit code.

    Raises:
        ValueError: An input does not exist, a model cannot be loaded, the output cannot be written,
            or it holds a dataset of another recipe.
        JobFailedError: A step failed for good.
    """
    files = job_files(
        config.inputs, remote=config.runner.remote, only_files=config.retry_of is not None
    )
    check_output(config)
    set_up_process()
    models = _load_models(config)
    job = Job(
        name="prepare",
        build=lambda pipeline, progress: build(
            pipeline, config=config, models=models, files=files, progress=progress
        ),
        total_tracks=len(used_files(files)),
        total_bytes=sum(file.size_bytes for file in files),
        reads=config.inputs,
        writes={"--output": config.output, "--parts": config.parts},
        weights=models.weights,
        device=config.recipe.encode.device,
    )
    return run_job(job, runner=config.runner, report=lambda outcome: _report(config, outcome))


def build(
    pipeline: beam.Pipeline,
    *,
    config: PrepareConfig,
    models: Models,
    files: Iterable[SourceFile] = (),
    progress: str | None = None,
) -> beam.PCollection:
    """Adds the job to a pipeline and returns its manifest.

    Args:
        pipeline: Beam's pipeline.
        config: What to do.
        models: The models of the recipe, for their geometry and the hashes of their weights.
        files: The files of the inputs, read where there is a folder for progress.
        progress: Folder of this machine to report progress to.
    """
    import apache_beam as beam

    from singsong.transforms.assemble_shards import total
    from singsong.transforms.known_tracks import ReadKnownTracks
    from singsong.transforms.list_tracks import ListTracks

    listed = pipeline | "ListTracks" >> ListTracks(
        config.inputs,
        only_files=config.retry_of is not None,
        listing=write_listing(files, progress),
    )
    encoded = listed["tracks"] | "EncodeTracks" >> _encode_tracks(config, models, progress)
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
        "skipped": listed["skipped"],
    } | "AssembleShards" >> _assemble_shards(config, models)


def _encode_tracks(config: PrepareConfig, models: Models, progress: str | None) -> beam.PTransform:
    from singsong.transforms.encode_tracks import EncodeConfig, EncodeTracks

    encode_config = EncodeConfig(
        recipe=config.recipe.encode,
        weights=tuple(sorted(models.weights.items())),
        parts=config.parts,
        progress=progress,
        start_process=set_up_process,
        debug=is_debugging(config.runner),
        keep_going=config.keep_going,
        redo_failed_clips=config.retry_of is not None,
        dataset_filter=config.recipe.dataset_filter,
    )
    return EncodeTracks(encode_config).with_resource_hints(**config.runner.encode_hints)


def _assemble_shards(config: PrepareConfig, models: Models) -> beam.PTransform:
    from singsong.transforms.assemble_shards import AssembleConfig, AssembleShards

    assemble_config = AssembleConfig(
        recipe=config.recipe,
        weights=tuple(sorted(models.weights.items())),
        geometry=models.geometry,
        parts=config.parts,
        dataset=config.output,
        origin=tuple(sorted(config.origin.items())),
        skipped_before=config.skipped_before,
    )
    return AssembleShards(assemble_config)


def check_output(config: PrepareConfig) -> None:
    """Checks that the output can be written, and holds nothing or a dataset of the same recipe.

    Raises:
        ValueError: It cannot be written, lies in an input, holds a dataset of another recipe, or
            its manifest cannot be read.
        OSError: It lies in a bucket that does not exist or may not be listed.
    """
    places = (config.output, config.parts)
    check_apart(config.inputs, places)
    for place in places:
        check_output_folder(place)
    if not storage.exists(storage.join(config.output, MANIFEST_NAME)):
        storage.check_place(config.output)
        return
    from singsong.dataset.handle import open_dataset
    from singsong.dataset.manifest import DatasetError

    try:
        before = open_dataset(config.output).manifest.recipe
    except DatasetError as error:
        raise ValueError(f"{config.output}: {error}") from error
    differences = recipe_differences(before, recipe_json(config.recipe))
    if differences and not config.new_version:
        raise ValueError(
            f"{config.output} holds a dataset of another recipe ({'; '.join(differences)}). "
            "Choose another --output, or pass --new-version to make this its newest version"
        )


def exit_code(tracks: TrackCounts, *, max_failure_rate: float) -> int:
    """Returns 0, or 3 with a line on stdout when too much failed or nothing was encoded."""
    failed = sum(count for reason, count in tracks.failed.items() if is_failure(reason))
    candidates = tracks.encoded + tracks.duplicate + failed
    if not tracks.encoded:
        print("No track could be encoded: `singsong dataset show` lists the reasons.")
        return ExitCode.FAILED_TRACKS
    if failed > max_failure_rate * candidates:
        print(
            f"{failed} of {candidates} tracks failed, more than --max-failure-rate "
            f"{max_failure_rate:g} allows. `singsong dataset show` lists them; "
            "`singsong retry` runs them again."
        )
        return ExitCode.FAILED_TRACKS
    return ExitCode.DONE


def _report(config: PrepareConfig, outcome: Outcome) -> int:
    from singsong.dataset.handle import open_dataset
    from singsong.dataset.summary import print_summary

    dataset = open_dataset(config.output)
    print_summary(dataset, counters=outcome.counters)
    return exit_code(dataset.manifest.counts.tracks, max_failure_rate=config.max_failure_rate)


def _load_models(config: PrepareConfig) -> Models:
    """Loads the models for their shapes and hashes.

    The machine that launches remote workers may lack their device, so it loads them on the CPU.
    """
    from singsong.models.bundle import load_models

    recipe = config.recipe.encode
    return load_models(replace(recipe, device="cpu") if config.runner.remote else recipe)
