"""Accompanies a singer.

    singsong accompany vocals.wav --checkpoint run --output mix.wav
    singsong accompany takes/ more.flac --checkpoint run --output accompanied

If the output is a sound file, one file of vocals is accompanied here and now. If it is a folder,
all files are, as a Beam job on any runner; what exists already is not made again, and
`accompaniments.json`, written last, lists the outcome of each file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from singsong.audio.sound_formats import FORMATS, check_sound_file, suffix_of
from singsong.generation.sampling_config import DEFAULT_SAMPLING, Sampling
from singsong.pipelines.places import (
    check_apart,
    check_output_file,
    check_output_folder,
    check_run,
    job_files,
)
from singsong.pipelines.runner_arguments import (
    add_device_argument,
    add_runner_arguments,
    device_from,
    runner_options_from,
)
from singsong.runners.job import RunnerOptions
from singsong.runners.local import LocalOptions, is_debugging, set_up_process
from singsong.schemas.elements import SourceFile
from singsong.schemas.recipe import ModelSpec
from singsong.transforms.accompany_config import AccompanyConfig
from singsong.transforms.source_files import write_listing

if TYPE_CHECKING:
    import apache_beam as beam

    from singsong.transforms.accompany_tracks import AccompanySink

_OTHER_SOUNDS = (".aac", ".aif", ".aiff", ".m4a", ".mp4", ".oga", ".ogg", ".opus", ".webm", ".wma")
"""Suffixes that no folder has, of formats that cannot be written."""


@dataclass(frozen=True, kw_only=True)
class AccompanyJobConfig:
    """What `accompany` does.

    Attributes:
        inputs: Files, folders, globs and fsspec URLs of vocals.
        output: A sound file for one input, else a folder or URL.
        suffix: Format of the sounds.
        accompany: How.
        runner: Where, if the output is a folder.

    Raises:
        ValueError: The format is unknown, an output lies in an input, or the output is a sound file
            and there is more than one input or a flag for a folder.
    """

    inputs: tuple[str, ...]
    output: str
    suffix: str
    accompany: AccompanyConfig
    runner: RunnerOptions

    def __post_init__(self) -> None:
        check_sound_file(self.output if self.is_file else f"sound{self.suffix}")
        if self.is_file:
            self._check_file()
        check_apart(self.inputs, [self.output])

    def _check_file(self) -> None:
        if len(self.inputs) != 1:
            raise ValueError(
                f"{self.output} is one file, for one file of vocals, found {len(self.inputs)}: "
                "name a folder as the output"
            )
        if self.suffix != suffix_of(self.output):
            raise ValueError(
                f"{self.output} is not the {self.suffix[1:]} file that --format asks for"
            )
        if self.runner != LocalOptions():
            raise ValueError(
                f"{self.output} is one file, and made here and now: runners and their flags are "
                "for a folder as the output"
            )

    @property
    def is_file(self) -> bool:
        """Whether one file is accompanied here and now."""
        return is_sound_name(self.output)


def is_sound_name(url: str) -> bool:
    """Returns whether a path or URL is named like a sound file of any format, not like a folder.

    >>> is_sound_name("mix.ogg"), is_sound_name("gs://bucket/mixes"), is_sound_name("v1.2")
    (True, False, False)
    """
    return suffix_of(url) in {*FORMATS, *_OTHER_SOUNDS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong accompany`."""
    parser.add_argument("inputs", nargs="+", metavar="VOCALS", help="files, folders or URLs")
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="RUN",
        help="output of `singsong train accompaniment`",
    )
    parser.add_argument(
        "--fine",
        metavar="RUN",
        help="output of `singsong train fine`: a model that adds the fine codes before decoding, "
        "as in the paper",
    )
    parser.add_argument(
        "--output", required=True, help=f"a file ({', '.join(FORMATS)}), or a folder for many"
    )
    parser.add_argument(
        "--format", choices=[suffix[1:] for suffix in FORMATS], help="in a folder; wav by default"
    )
    parser.add_argument(
        "--stem", action="store_true", help="write the instrumental alone, without the vocals"
    )
    parser.add_argument(
        "--seed",
        type=int,
        action="append",
        help="may be given again: each seed makes another accompaniment, all at once",
    )
    _add_model_arguments(parser)
    add_runner_arguments(parser)


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    for name, text in (
        ("temperature", "how freely codes are drawn; 0 takes the most likely"),
        ("fine_temperature", "the same for the fine model"),
    ):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=float, default=getattr(DEFAULT_SAMPLING, name), help=text)
    spec = "NAME[:SOURCE]"
    parser.add_argument(
        "--acoustic", type=ModelSpec.parse, metavar=spec, help="where the dataset's codec is"
    )
    parser.add_argument(
        "--semantic", type=ModelSpec.parse, metavar=spec, help="where its semantic encoder is"
    )
    add_device_argument(parser)


def config_from(args: argparse.Namespace) -> AccompanyJobConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    runner = runner_options_from(args)
    accompany = AccompanyConfig(
        checkpoint=args.checkpoint,
        fine=args.fine,
        acoustic=args.acoustic,
        semantic=args.semantic,
        sampling=Sampling(temperature=args.temperature, fine_temperature=args.fine_temperature),
        seeds=tuple(args.seed or AccompanyConfig.seeds),
        stem=args.stem,
        device=device_from(args),
        start_process=set_up_process,
        debug=is_debugging(runner),
    )
    own_suffix = suffix_of(args.output) if is_sound_name(args.output) else ".wav"
    return AccompanyJobConfig(
        inputs=tuple(args.inputs),
        output=args.output,
        suffix=f".{args.format}" if args.format else own_suffix,
        accompany=accompany,
        runner=runner,
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong accompany` and returns its exit code.

    Raises:
        ValueError: A flag is wrong, a file or a model is missing, or models do not fit each other.
        ClipError: The one file cannot be decoded, or the format cannot hold its accompaniment.
        JobFailedError: A step failed for good.
        OSError: The output cannot be written.
    """
    config = config_from(args)
    files = job_files(config.inputs, remote=config.runner.remote)
    (check_output_file if config.is_file else check_output_folder)(config.output)
    for url in filter(None, [config.accompany.checkpoint, config.accompany.fine]):
        check_run(url)
    if config.is_file:
        from singsong.pipelines.accompany_one import accompany_one

        return accompany_one(config.inputs[0], output=config.output, config=config.accompany)
    from singsong.pipelines.accompany_many import accompany_many

    return accompany_many(config, files)


def build(
    pipeline: beam.Pipeline,
    *,
    config: AccompanyJobConfig,
    sink: AccompanySink,
    files: Iterable[SourceFile] = (),
    progress: str | None = None,
) -> beam.PCollection:
    """Adds the job to a pipeline.

    Args:
        pipeline: Beam's pipeline.
        config: What to do.
        sink: Where the sounds go.
        files: The files of the inputs, read where there is a folder for progress.
        progress: Folder of this machine to report progress to.
    """
    import apache_beam as beam

    from singsong.transforms.accompany_tracks import AccompanyTracks, WriteReport
    from singsong.transforms.list_tracks import ListTracks

    listed = pipeline | "ListTracks" >> ListTracks(
        config.inputs, listing=write_listing(files, progress)
    )
    accompany = AccompanyTracks(replace(config.accompany, progress=progress), sink)
    made = listed["tracks"] | "AccompanyTracks" >> accompany.with_resource_hints(
        **config.runner.encode_hints
    )
    letters = (listed["dead_letters"], made["dead_letters"]) | "AllLetters" >> beam.Flatten()
    return {
        "sounds": made["sounds"],
        "duplicates": listed["duplicates"],
        "dead_letters": letters,
        "listed": listed["listed"],
    } | "Report" >> WriteReport(sink)
