r"""Fits the codebooks of the lite models to music, or a semantic codebook for another encoder.

    singsong fit acoustic ~/Music --held-out ~/Other --output acoustic.safetensors
    singsong fit semantic ~/Music --encoder hubert:facebook/hubert-base-ls960,layer=7 \
        --output hubert.safetensors

Figures measured on the held-out music are printed, and written beside the output as JSON. Use the
result as `--acoustic lite:acoustic.safetensors` or
`--semantic hubert:facebook/hubert-base-ls960,layer=7,codebook=hubert.safetensors`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from singsong import storage
from singsong.pipelines.job_run import run_job
from singsong.pipelines.places import check_output_file, input_files, used_files
from singsong.pipelines.runner_arguments import (
    add_device_argument,
    add_runner_arguments,
    device_from,
    runner_options_from,
)
from singsong.runners.exit_codes import ExitCode
from singsong.runners.job import Job, RunnerOptions
from singsong.runners.local import is_debugging, set_up_process
from singsong.schemas.elements import SourceFile
from singsong.schemas.recipe import ModelSpec
from singsong.schemas.text import printable
from singsong.transforms.fit_config import FitConfig
from singsong.transforms.source_files import write_listing

if TYPE_CHECKING:
    import apache_beam as beam


@dataclass(frozen=True, kw_only=True)
class FitJobConfig:
    """What `fit` does.

    Attributes:
        inputs: Music to fit to.
        held_out: Music to measure on; none measures nothing.
        fit: What is fitted.
        runner: Where.
    """

    inputs: tuple[str, ...]
    held_out: tuple[str, ...]
    fit: FitConfig
    runner: RunnerOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `singsong fit`."""
    parser.add_argument("kind", choices=("acoustic", "semantic"), help="which codes")
    parser.add_argument("inputs", nargs="+", metavar="MUSIC", help="files, folders, globs or URLs")
    parser.add_argument("--output", required=True, metavar="FILE", help="a safetensors file")
    parser.add_argument(
        "--held-out",
        action="append",
        default=[],
        metavar="MUSIC",
        help="music to measure on, not to fit to; may be given again",
    )
    parser.add_argument(
        "--encoder",
        type=ModelSpec.parse,
        metavar="NAME[:SOURCE][,layer=N]",
        help="fit a semantic codebook for this encoder",
    )
    parser.add_argument(
        "--scratch", metavar="FOLDER", help="folder or URL that every worker can reach"
    )
    for name, text in (
        ("seed", "seed of the drawing and of the first codes"),
        ("frames_per_clip", "the most frames drawn from a clip"),
        ("max_frames", "the most frames fitted"),
        ("iterations", "rounds of k-means"),
        ("codes", "codes in each codebook"),
    ):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=int, default=getattr(FitConfig, name), help=text)
    add_device_argument(parser)
    add_runner_arguments(parser)


def config_from(args: argparse.Namespace, scratch: str) -> FitJobConfig:
    """Returns the configuration that the flags describe.

    Args:
        args: The flags.
        scratch: Folder for the drawn frames, if the flags name none.

    Raises:
        ValueError: A value is outside its range.
    """
    runner = runner_options_from(args)
    fit = FitConfig(
        kind=args.kind,
        output=args.output,
        scratch=args.scratch or scratch,
        encoder=args.encoder,
        seed=args.seed,
        frames_per_clip=args.frames_per_clip,
        max_frames=args.max_frames,
        iterations=args.iterations,
        codes=args.codes,
        device=device_from(args),
        start_process=set_up_process,
        debug=is_debugging(runner),
    )
    return FitJobConfig(
        inputs=tuple(args.inputs),
        held_out=tuple(args.held_out),
        fit=fit,
        runner=runner,
    )


def run(args: argparse.Namespace) -> int:
    """Runs `singsong fit` and returns its exit code. Raises as `fit`."""
    with tempfile.TemporaryDirectory(prefix="singsong-fit-", ignore_cleanup_errors=True) as scratch:
        return fit(config_from(args, scratch))


def fit(config: FitJobConfig) -> int:
    """Fits, measures, prints the figures and returns the exit code.

    Raises:
        ValueError: The output cannot be written, nothing is left to fit to, or too little.
        JobFailedError: A step failed for good.
    """
    check_output_file(config.fit.output)
    held_out = used_files(input_files(config.held_out))
    files = files_to_fit(config.inputs, held_out)
    job = Job(
        name="fit",
        build=lambda pipeline, progress: build(
            pipeline,
            files=files,
            fit=replace(config.fit, progress=progress),
            hints=config.runner.encode_hints,
        ),
        total_tracks=len(files),
        total_bytes=sum(file.size_bytes for file in files),
        reads=config.inputs,
        writes={"--output": config.fit.output, "--scratch": config.fit.scratch},
        device=config.fit.device,
    )
    return run_job(
        job,
        runner=config.runner,
        report=lambda _: _report(config, held_out),
        when_interrupted="Nothing was written.",
    )


def files_to_fit(inputs: Sequence[str], held_out: Sequence[SourceFile]) -> list[SourceFile]:
    """Returns the files to fit to: those that are not held out.

    Args:
        inputs: Files, folders, globs and URLs of music to fit to.
        held_out: The files to measure on.

    Raises:
        ValueError: Nothing is left, or an input names no file.
    """
    kept_apart = {file.uri for file in held_out}
    files = sorted(used_files(input_files(inputs)), key=lambda file: file.uri)
    left = [file for file in files if file.uri not in kept_apart]
    if not left:
        raise ValueError("no file is left to fit to: all are held out")
    return left


def build(
    pipeline: beam.Pipeline,
    *,
    files: Sequence[SourceFile],
    fit: FitConfig,
    hints: Mapping[str, str] | None = None,
) -> beam.PCollection:
    """Adds the job to a pipeline and returns the number of frames and tracks.

    Args:
        pipeline: Beam's pipeline.
        files: What to fit to.
        fit: What is fitted.
        hints: Beam's resource hints for the step that runs the encoder.
    """
    import apache_beam as beam

    from singsong.transforms.fit_codebooks import FitCodebooks
    from singsong.transforms.list_tracks import ListTracks

    listed = pipeline | "ListTracks" >> ListTracks(
        [file.uri for file in files], listing=write_listing(files, fit.progress)
    )
    fitted = listed["tracks"] | "FitCodebooks" >> FitCodebooks(fit, draw_hints=hints)
    letters = (listed["dead_letters"], fitted["dead_letters"]) | "AllLetters" >> beam.Flatten()
    _ = letters | "PrintLetters" >> beam.Map(lambda letter: print(letter.to_line()))
    return fitted["fitted"]


def _report(config: FitJobConfig, held_out: Sequence[SourceFile]) -> int:
    print(printable(f"wrote {config.fit.output}"))
    if held_out:
        from singsong.pipelines.fit_quality import measure

        fit = replace(config.fit, device="cpu") if config.runner.remote else config.fit
        measured = measure(fit, [file.uri for file in held_out])
        figures = json.dumps(measured, indent=1, sort_keys=True)
        storage.put_bytes(f"{fit.output}.json", figures.encode())
        print(figures)
    return ExitCode.DONE
