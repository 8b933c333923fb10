"""Accompanies a singer.

    singsong accompany vocals.wav --checkpoint run --output mix.wav
    singsong accompany takes/ more.flac --checkpoint run --output accompanied

With a sound file as the output, one file of vocals is accompanied here and now. With a folder, all
files are, as a Beam job on any runner; what exists already is not made again, and
`accompaniments.json`, written last, says what became of each file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import apache_beam as beam
from tqdm import tqdm

from singsong import storage
from singsong.audio.sound_files import (
    FORMATS,
    check_sound_file,
    suffix_of,
    write_sound_file,
)
from singsong.generation.accompanist import DEFAULT_SAMPLING, Accompanist, Sampling
from singsong.pipelines.prepare import FAILURES_EXIT_CODE, NO_AUDIO_REASONS, check_places
from singsong.pipelines.runner_arguments import (
    add_runner_arguments,
    parse_arguments,
    runner_options_from,
)
from singsong.runners.errors import STOPPED_EXIT_CODE, JobStoppedError
from singsong.runners.job import Job, RunnerOptions
from singsong.runners.local import LocalOptions, set_up_process
from singsong.schemas.errors import ClipError
from singsong.schemas.recipe import ModelSpec
from singsong.transforms.accompany_tracks import (
    DEAD_LETTERS,
    REPORT_NAME,
    AccompanyConfig,
    AccompanySink,
    AccompanyTracks,
    WriteReport,
    accompany_file,
)
from singsong.transforms.list_tracks import ListTracks, list_source_files

_OTHER_SOUNDS = (".aac", ".aif", ".aiff", ".m4a", ".mp4", ".oga", ".ogg", ".opus", ".webm", ".wma")
"""Suffixes that nobody gives to a folder, and that cannot be written."""


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
        ValueError: The output is a sound file, and there is more than one input, or a flag that is
            for a folder, or it is the input; or the format is unknown.
    """

    inputs: tuple[str, ...]
    output: str
    suffix: str
    accompany: AccompanyConfig
    runner: RunnerOptions

    def __post_init__(self) -> None:
        if not self.is_file:
            check_sound_file(f"sound{self.suffix}")
            return
        check_sound_file(self.output)
        if len(self.inputs) != 1:
            raise ValueError(
                f"{self.output} is one file, for one file of vocals, found {len(self.inputs)}: "
                "name a folder as the output"
            )
        if self.suffix != suffix_of(self.output):
            raise ValueError(f"{self.output} is no {self.suffix[1:]}, which --format asks for")
        if self.runner != LocalOptions():
            raise ValueError(
                f"{self.output} is one file, and made here and now: runners and their flags are "
                "for a folder as the output"
            )
        check_places(self.inputs, [self.output])

    @property
    def is_file(self) -> bool:
        """Whether one file is accompanied here and now."""
        return is_sound_name(self.output)


def is_sound_name(url: str) -> bool:
    """Returns whether a path or URL is named like a sound, of whatever format, not like a folder.

    >>> is_sound_name("mix.ogg"), is_sound_name("gs://bucket/mixes"), is_sound_name("v1.2")
    (True, False, False)
    """
    return suffix_of(url) in {*FORMATS, *_OTHER_SOUNDS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong accompany`."""
    how = DEFAULT_SAMPLING
    parser.add_argument("inputs", nargs="+", metavar="VOCALS", help="files, folders or URLs")
    parser.add_argument(
        "--checkpoint", required=True, metavar="RUN", help="of `singsong train accompaniment`"
    )
    parser.add_argument("--fine", metavar="RUN", help="of `singsong train fine`; better sound")
    parser.add_argument(
        "--output", required=True, help=f"a file ({', '.join(FORMATS)}), or a folder for many"
    )
    parser.add_argument(
        "--format", choices=[suffix[1:] for suffix in FORMATS], help="in a folder: wav by default"
    )
    parser.add_argument(
        "--stem", action="store_true", help="write the instrumental alone, without the vocals"
    )
    parser.add_argument(
        "--seed",
        type=int,
        action="append",
        help="may be given again: each seed is another accompaniment, all are made at once",
    )
    parser.add_argument("--temperature", type=float, default=how.temperature)
    parser.add_argument("--fine-temperature", type=float, default=how.fine_temperature)
    parser.add_argument("--acoustic", type=ModelSpec.parse, help="where the dataset's codec is")
    parser.add_argument("--semantic", type=ModelSpec.parse, help="where its encoder is")
    parser.add_argument("--device", default=AccompanyConfig.device)
    add_runner_arguments(parser)


def config_from(args: argparse.Namespace) -> AccompanyJobConfig:
    """Returns the configuration that the flags describe.

    Raises:
        ValueError: A value is outside its range.
    """
    accompany = AccompanyConfig(
        checkpoint=args.checkpoint,
        fine=args.fine,
        acoustic=args.acoustic,
        semantic=args.semantic,
        sampling=Sampling(temperature=args.temperature, fine_temperature=args.fine_temperature),
        seeds=tuple(args.seed or AccompanyConfig.seeds),
        stem=args.stem,
        device=args.device,
        start_process=set_up_process,
    )
    natural = suffix_of(args.output) if is_sound_name(args.output) else ".wav"
    return AccompanyJobConfig(
        inputs=tuple(args.inputs),
        output=args.output,
        suffix=f".{args.format}" if args.format else natural,
        accompany=accompany,
        runner=runner_options_from(args),
    )


def accompany_one(config: AccompanyJobConfig) -> int:
    """Accompanies one file, with a bar, and returns the exit code.

    Raises:
        ValueError: A model is missing, or does not fit the others.
        ClipError: The file cannot be decoded, or its audio cannot be written in that format.
        OSError: The output cannot be written.
    """
    with storage.local_copy(config.inputs[0]) as local, tqdm(unit="code", disable=None) as bar:

        def count(total: int) -> None:
            bar.total = total
            bar.update()

        for seed, audio, rate_hz in accompany_file(
            local, config=config.accompany, suffix=config.suffix, on_token=count
        ):
            url = _with_seed(config.output, seed, many=len(config.accompany.seeds) > 1)
            scale = write_sound_file(url, audio, sample_rate_hz=rate_hz)
            softer = f", scaled by {scale:.2f} to full scale" if scale < 1 else ""
            tqdm.write(f"wrote {url} ({audio.shape[1] / rate_hz:.1f} s{softer})")
    return 0


def _with_seed(output: str, seed: int, *, many: bool) -> str:
    """Returns the output, with the seed in its name where there are many."""
    stem, dot, suffix = output.rpartition(".")
    return f"{stem}-seed{seed}{dot}{suffix}" if many else output


def build(
    pipeline: beam.Pipeline,
    *,
    config: AccompanyJobConfig,
    sink: AccompanySink,
    progress: str | None = None,
) -> beam.PCollection:
    """Adds the job to a pipeline.

    Args:
        pipeline: Beam's pipeline.
        config: What to do.
        sink: Where the sounds go.
        progress: Folder of this machine to report progress to.
    """
    listed = pipeline | "ListTracks" >> ListTracks(config.inputs)
    accompany = AccompanyTracks(replace(config.accompany, progress=progress), sink)
    made = listed["tracks"] | "AccompanyTracks" >> accompany.with_resource_hints(
        **config.runner.encode_hints
    )
    letters = (listed[DEAD_LETTERS], made[DEAD_LETTERS]) | "AllLetters" >> beam.Flatten()
    return {
        "sounds": made["sounds"],
        "duplicates": listed["duplicates"],
        "dead_letters": letters,
        "listed": listed["listed"],
    } | "Report" >> WriteReport(sink)


def accompany_many(config: AccompanyJobConfig) -> int:
    """Accompanies files as a Beam job, and returns the exit code.

    Raises:
        ValueError: An input does not exist, the output lies in one, or a model is missing or does
            not fit the others.
        JobFailedError: A step failed for good.
    """
    check_places(config.inputs, [config.output])
    try:
        files = {file.uri: file for url in config.inputs for file in list_source_files(url)}
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None
    set_up_process()
    digest = config.accompany.digest(_models_of(config))
    sink = AccompanySink(output=config.output, suffix=config.suffix, digest=digest)
    job = Job(
        name="accompany",
        build=lambda pipeline, progress: build(
            pipeline, config=config, sink=sink, progress=progress
        ),
        total_tracks=len(files),
        total_bytes=sum(file.size_bytes for file in files.values()),
        reads=(*config.inputs, config.accompany.checkpoint, *filter(None, [config.accompany.fine])),
        writes={"--output": config.output},
        device=config.accompany.device,
    )
    try:
        outcome = config.runner.run(job)
    except JobStoppedError:
        print("Stopped. What is done is kept: run the same command again to go on.")
        return STOPPED_EXIT_CODE
    return _told(config.output) if outcome.finished else 0


def _models_of(config: AccompanyJobConfig) -> Accompanist:
    """Loads the models for their hashes, on the CPU where the workers are other machines."""
    how = config.accompany
    return (replace(how, device="cpu") if config.runner.remote else how).load()


def _told(output: str) -> int:
    report = json.loads(storage.read_bytes(storage.join(output, REPORT_NAME)))
    for letter in report["dead_letters"]:
        print(f"{letter['reason']}: {letter['uri']}: {letter['message']}")
    failed = sum(x["reason"] not in NO_AUDIO_REASONS for x in report["dead_letters"])
    print(f"{len(report['sounds'])} accompaniments in {output}, {failed} files failed")
    return FAILURES_EXIT_CODE if failed or not report["sounds"] else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `singsong accompany` and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="singsong accompany",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    config = config_from(parse_arguments(parser, argv))
    if not config.is_file:
        return accompany_many(config)
    set_up_process()
    try:
        return accompany_one(config)
    except ClipError as error:
        raise ValueError(f"{config.inputs[0]}: {error}") from error
