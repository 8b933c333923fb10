"""Turns music into a versioned dataset of codes.

    singsong prepare ~/Music --output dataset

Each track becomes one part file below `dataset/parts`, named by its content and the recipe. Parts
that exist are not made again, so the same command resumes after a crash. The parts are then
assembled into shards, and `dataset/manifest.json`, written last, is the dataset.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from singsong import storage
from singsong.pipelines.existing import (
    Existing,
    check_encoding,
    check_none_missing,
    check_recipe,
    newest_version,
)
from singsong.pipelines.job_run import run_job
from singsong.pipelines.places import (
    absolute,
    check_apart,
    check_output_folder,
    job_files,
    used_files,
)
from singsong.pipelines.prepare_config import PrepareConfig
from singsong.pipelines.recipe_arguments import add_recipe_arguments, recipe_from
from singsong.pipelines.runner_arguments import add_runner_arguments, runner_options_from
from singsong.runners.errors import JobFailedError
from singsong.runners.job import Job
from singsong.runners.local import is_debugging, set_up_process
from singsong.schemas.elements import SourceFile
from singsong.schemas.names import PARTS_FOLDER, TRACKS_TABLE
from singsong.schemas.recipe import NO_FILTER
from singsong.transforms.source_files import write_listing

if TYPE_CHECKING:
    import apache_beam as beam

    from singsong.dataset.handle import Dataset
    from singsong.models.bundle import Models
    from singsong.transforms.encode_tracks import EncodeConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong prepare`."""
    parser.add_argument("inputs", nargs="+", metavar="MUSIC", help="files, folders, globs or URLs")
    parser.add_argument("--output", required=True, metavar="DATASET", help="folder or URL")
    parser.add_argument("--parts", metavar="FOLDER", help="where parts are, to share them")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--add",
        action="store_true",
        help="keep the tracks that DATASET has, and add those of MUSIC",
    )
    existing.add_argument(
        "--replace",
        action="store_true",
        help="make a version of MUSIC alone, of any recipe; older versions stay readable",
    )
    parser.add_argument(
        "--max-failure-rate",
        type=float,
        default=PrepareConfig.max_failure_rate,
        help="exit with 3 if a larger fraction of the tracks or of the clips fails",
    )
    parser.add_argument(
        "--keep-going",
        action="store_true",
        help="go on if most of the first tracks fail or are dropped whole; else the job ends there",
    )
    parser.add_argument(
        "--check-determinism",
        type=int,
        default=PrepareConfig.check_determinism,
        metavar="N",
        help="ask each model twice about the first N clips of a track, and end if they differ",
    )
    add_max_track_hours(parser)
    add_recipe_arguments(parser)
    add_runner_arguments(parser)


def add_max_track_hours(parser: argparse.ArgumentParser) -> None:
    """Adds the limit of the length of a track."""
    parser.add_argument(
        "--max-track-hours",
        type=float,
        default=PrepareConfig.max_track_hours,
        help="refuse files that decode to more: a few kilobytes can hold years of silence",
    )


def config_from(args: argparse.Namespace) -> PrepareConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    output = absolute(args.output)
    existing = Existing.ADD if args.add else Existing.REPLACE if args.replace else Existing.REFUSE
    return PrepareConfig(
        inputs=tuple(args.inputs),
        output=output,
        parts=absolute(args.parts) if args.parts else storage.join(output, PARTS_FOLDER),
        recipe=recipe_from(args),
        runner=runner_options_from(args),
        existing=existing,
        encode_dropped=args.encode_dropped,
        max_failure_rate=args.max_failure_rate,
        keep_going=args.keep_going,
        max_track_hours=args.max_track_hours,
        check_determinism=args.check_determinism,
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong prepare` and returns its exit code. Raises as `prepare`."""
    return prepare(config_from(args))


def prepare(config: PrepareConfig) -> int:
    """Prepares a dataset, prints a summary and returns the exit code.

    Raises:
        ValueError: An input does not exist, a model cannot be loaded, the output cannot be written,
            or it holds a dataset that this one may not follow.
        JobFailedError: A step failed for good.
    """
    files = job_files(config.inputs, remote=config.runner.remote, only_files=config.retry)
    newest = check_output(config, files)
    set_up_process()
    models = _load_models(config)
    if newest is not None and config.existing is not Existing.REPLACE:
        check_encoding(newest, _encode_config(config, models).encode_digest)
    keep = newest if config.existing is Existing.ADD else None
    job = Job(
        name="prepare",
        build=lambda pipeline, progress: build(
            pipeline, config=config, models=models, keep=keep, files=files, progress=progress
        ),
        total_tracks=len(used_files(files)),
        total_bytes=sum(file.size_bytes for file in files),
        reads=config.inputs,
        writes={"--output": config.output, "--parts": config.parts},
        weights=models.weights,
        device=config.recipe.encode.device,
    )
    from singsong.dataset.rejection import clear_rejection, read_rejection
    from singsong.pipelines.prepare_report import report, report_rejection

    clear_rejection(config.output)
    try:
        return run_job(job, runner=config.runner, report=lambda outcome: report(config, outcome))
    except JobFailedError:
        rejection = read_rejection(config.output)
        if rejection is None:
            raise
        return report_rejection(rejection)


def build(
    pipeline: beam.Pipeline,
    *,
    config: PrepareConfig,
    models: Models,
    keep: Dataset | None = None,
    files: Iterable[SourceFile] = (),
    progress: str | None = None,
) -> beam.PCollection:
    """Adds the job to a pipeline and returns its manifest.

    Args:
        pipeline: Beam's pipeline.
        config: What to do.
        models: The models of the recipe, for their geometry and the hashes of their weights.
        keep: The version whose tracks are kept.
        files: The files of the inputs, read where there is a folder for progress.
        progress: Folder of this machine to report progress to.
    """
    import apache_beam as beam

    from singsong.transforms.encode_tracks import EncodeTracks
    from singsong.transforms.known_tracks import KeepKnownTracks
    from singsong.transforms.list_tracks import ListTracks

    listed = pipeline | "ListTracks" >> ListTracks(
        config.inputs, only_files=config.retry, listing=write_listing(files, progress)
    )
    encode = EncodeTracks(_encode_config(config, models, progress))
    encoded = listed["tracks"] | "EncodeTracks" >> encode.with_resource_hints(
        **config.runner.encode_hints
    )
    letters = (listed["dead_letters"], encoded["dead_letters"]) | "AllDeadLetters" >> beam.Flatten()
    made = {**listed, "parts": encoded["parts"], "dead_letters": letters}
    if keep is not None:
        table = keep.url_of(keep.manifest.table(TRACKS_TABLE))
        kept = made | "KeepKnownTracks" >> KeepKnownTracks(table, progress=progress)
        made = {**made, **kept}
    return made | "AssembleShards" >> _assemble_shards(config, models, keep)


def _encode_config(
    config: PrepareConfig, models: Models, progress: str | None = None
) -> EncodeConfig:
    from singsong.transforms.encode_tracks import EncodeConfig

    return EncodeConfig(
        recipe=config.recipe.encode,
        weights=tuple(sorted(models.weights.items())),
        parts=config.parts,
        encode_filter=NO_FILTER if config.encode_dropped else config.recipe.dataset_filter,
        progress=progress,
        start_process=set_up_process,
        debug=is_debugging(config.runner),
        keep_going=config.keep_going,
        redo_failed_clips=config.retry,
        dataset_filter=config.recipe.dataset_filter,
        limits=config.limits,
        check_determinism=config.check_determinism,
    )


def _assemble_shards(
    config: PrepareConfig, models: Models, keep: Dataset | None
) -> beam.PTransform:
    from singsong.transforms.assemble_shards import AssembleConfig, AssembleShards

    assemble_config = AssembleConfig(
        recipe=config.recipe,
        weights=models.weights,
        geometry=models.geometry,
        encode_digest=_encode_config(config, models).encode_digest,
        parts=config.parts,
        dataset=config.output,
        origin=config.origin,
        replace=config.existing is Existing.REPLACE,
        skipped_before=keep.manifest.counts.skipped if keep and config.retry else 0,
    )
    return AssembleShards(assemble_config)


def check_output(config: PrepareConfig, files: Iterable[SourceFile]) -> Dataset | None:
    """Checks that the output can be written, and returns the dataset in it that this one follows.

    Args:
        config: What to do.
        files: The files of the inputs; none where other machines list them.

    Raises:
        ValueError: It cannot be written, lies in an input, holds a dataset that this one may not
            follow, or its manifest cannot be read.
        OSError: It lies in a bucket that does not exist or may not be listed.
    """
    places = (config.output, config.parts)
    check_apart(config.inputs, places)
    for place in places:
        check_output_folder(place)
    newest = newest_version(config.output)
    if newest is None or config.existing is Existing.REPLACE:
        return newest
    check_recipe(newest, config.recipe)
    if config.existing is Existing.REFUSE and not config.runner.remote:
        check_none_missing(newest, files)
    return newest


def _load_models(config: PrepareConfig) -> Models:
    """Loads the models for their shapes and hashes.

    The machine that launches remote workers may lack their device, so it loads them on the CPU.
    """
    from singsong.models.bundle import load_models

    recipe = config.recipe.encode
    return load_models(replace(recipe, device="cpu") if config.runner.remote else recipe)
