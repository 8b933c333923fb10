r"""Fits the codebooks of the lite models to music, or a semantic codebook for another encoder.

    singsong fit acoustic ~/Music --held-out ~/Other --output acoustic.safetensors
    singsong fit semantic ~/Music --encoder hubert:facebook/hubert-base-ls960,layer=7 \
        --output hubert.safetensors

What it measures on the held-out music is printed, and written beside the output as JSON. Use the
result as `--acoustic lite:acoustic.safetensors` or
`--semantic hubert:facebook/hubert-base-ls960,layer=7,codebook=hubert.safetensors`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np
from tqdm import tqdm

from singsong import storage
from singsong.audio.clips import ClipCutter
from singsong.audio.decode import stream_mono
from singsong.models.lite.acoustic import LiteAcousticCodec
from singsong.models.lite.quality import measure_acoustic, measure_semantic
from singsong.models.protocols import FloatArray
from singsong.models.registry import load_semantic
from singsong.pipelines.runner_arguments import (
    add_runner_arguments,
    parse_arguments,
    runner_options_from,
)
from singsong.runners.errors import STOPPED_EXIT_CODE, JobStoppedError
from singsong.runners.job import Job, RunnerOptions
from singsong.runners.local import set_up_process
from singsong.schemas.elements import SourceFile
from singsong.schemas.errors import ClipError
from singsong.schemas.geometry import clip_samples
from singsong.schemas.recipe import ModelSpec
from singsong.transforms.fit_codebooks import FitCodebooks, FitConfig
from singsong.transforms.list_tracks import ListTracks, list_source_files

_RATE_HZ = 16000
_LEAST_RMS = 1e-3


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
    defaults = FitConfig(kind="acoustic", output="", scratch="")
    parser.add_argument("kind", choices=("acoustic", "semantic"))
    parser.add_argument("inputs", nargs="+", metavar="MUSIC", help="files, folders, globs or URLs")
    parser.add_argument("--output", required=True, metavar="FILE", help="a safetensors file")
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="MUSIC", help="may be given again"
    )
    parser.add_argument("--encoder", type=ModelSpec.parse, metavar="NAME[:SOURCE][,layer=N]")
    parser.add_argument("--scratch", metavar="FOLDER", help="every worker must reach it")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--frames-per-clip", type=int, default=defaults.frames_per_clip)
    parser.add_argument("--max-frames", type=int, default=defaults.max_frames)
    parser.add_argument("--iterations", type=int, default=defaults.iterations)
    parser.add_argument("--codes", type=int, default=defaults.codes, help="in each codebook")
    parser.add_argument("--device", default=defaults.device)
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
        device=args.device,
        start_process=set_up_process,
    )
    return FitJobConfig(
        inputs=tuple(args.inputs), held_out=tuple(args.held_out), fit=fit, runner=runner
    )


def files_to_fit(config: FitJobConfig) -> list[SourceFile]:
    """Returns the files to fit to: those that are not held out.

    Raises:
        ValueError: Nothing is left, or an input names no file.
    """
    try:
        held_out = {file.uri for url in config.held_out for file in list_source_files(url)}
        files = {file.uri: file for url in config.inputs for file in list_source_files(url)}
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None
    left = [file for uri, file in sorted(files.items()) if uri not in held_out]
    if not left:
        raise ValueError("no file is left to fit to: all are held out")
    return left


def build(
    pipeline: beam.Pipeline,
    *,
    files: Sequence[str],
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
    listed = pipeline | "ListTracks" >> ListTracks(files)
    fitted = listed["tracks"] | "FitCodebooks" >> FitCodebooks(fit, draw_hints=hints)
    letters = (listed["dead_letters"], fitted["dead_letters"]) | "AllLetters" >> beam.Flatten()
    _ = letters | "Tell" >> beam.Map(
        lambda letter: print(f"{letter.reason}: {letter.uri}: {letter.message}")
    )
    return fitted["fitted"]


def measure(config: FitJobConfig) -> dict[str, Any]:
    """Returns the figures of the fitted model on the held-out music.

    A held-out file that cannot be decoded is told and left out.

    Raises:
        ValueError: No held-out clip is left.
    """
    clips = list(_loud_clips(config.held_out, seconds=config.fit.clip_seconds))
    with tempfile.TemporaryDirectory(prefix="singsong-fitted-") as folder:
        fitted = os.path.join(folder, "fitted.safetensors")
        storage.put_bytes(fitted, storage.read_bytes(config.fit.output))
        if config.fit.kind == "acoustic":
            return measure_acoustic(LiteAcousticCodec.load(fitted), clips)
        spec = config.fit.encoder or ModelSpec(name="lite", source=fitted)
        if config.fit.encoder is not None:
            spec = replace(spec, options=tuple(sorted([*spec.options, ("codebook", fitted)])))
        device = "cpu" if config.runner.remote else config.fit.device
        encoder = load_semantic(spec, device=device, dtype="float32", batch_clips=1)
        return measure_semantic(encoder, clips)


def _loud_clips(urls: Sequence[str], *, seconds: float) -> Iterator[FloatArray]:
    files = [file for url in urls for file in list_source_files(url)]
    for file in tqdm(files, unit="track", desc="held out", disable=None):
        cutter = ClipCutter(clip_samples=clip_samples(seconds, _RATE_HZ))
        try:
            with storage.local_copy(file.uri) as local:
                clips = list(cutter.cut(stream_mono(local, rate_hz=_RATE_HZ)))
        except ClipError as error:
            tqdm.write(f"{error.reason}: {file.uri}: {error}")
            continue
        yield from (clip for clip in clips if np.sqrt(np.mean(clip**2)) > _LEAST_RMS)


def run(config: FitJobConfig) -> int:
    """Fits, measures, prints the figures and returns the exit code.

    Raises:
        ValueError: Nothing is left to fit to, or too little.
        JobFailedError: A step failed for good.
    """
    files = files_to_fit(config)
    try:
        outcome = config.runner.run(
            Job(
                name="fit",
                build=lambda pipeline, progress: build(
                    pipeline,
                    files=[file.uri for file in files],
                    fit=replace(config.fit, progress=progress),
                    hints=config.runner.encode_hints,
                ),
                total_tracks=len(files),
                total_bytes=sum(file.size_bytes for file in files),
                reads=config.inputs,
                writes={"--output": config.fit.output, "--scratch": config.fit.scratch},
                device=config.fit.device,
            )
        )
    except JobStoppedError:
        print("Stopped; nothing was written.")
        return STOPPED_EXIT_CODE
    if not outcome.finished:
        return 0
    print(f"wrote {config.fit.output}")
    if config.held_out:
        figures = json.dumps(measure(config), indent=1, sort_keys=True)
        storage.put_bytes(f"{config.fit.output}.json", figures.encode())
        print(figures)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `singsong fit` and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="singsong fit",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    args = parse_arguments(parser, argv)
    scratch = tempfile.mkdtemp(prefix="singsong-fit-")
    try:
        return run(config_from(args, scratch))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
