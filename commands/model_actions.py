"""The actions of `singsong models`: list, fetch, check and bench."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from singsong.commands.model_speed import Speed, measure_apart
from singsong.models.built_in import ADAPTERS
from singsong.models.catalogue import KNOWN_MODELS, KnownModel, Way, known_as
from singsong.models.conformance import (
    ConformanceError,
    check_batch_invariance,
    check_codec,
    check_semantic_encoder,
    check_separator,
    noise_clips,
)
from singsong.models.devices import set_numerics
from singsong.models.downloads import is_here, is_local, model_files
from singsong.models.offline import broken_files, write_folder
from singsong.models.plugins import plugin_packages
from singsong.models.registry import MODEL_ROLES, make_model
from singsong.models.separator_check import check_on_known_song
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.recipe import ModelSpec
from singsong.schemas.separation import SeparationLimits
from singsong.schemas.text import printable
from singsong.storage import sha256_of

_COLUMNS = ("role", "model", "size", "here", "what it is", "licence", "from")


def list_models(args: argparse.Namespace) -> int:
    """Prints the known models, and those of installed plug-ins."""
    plugins = [
        {"role": role, "spec": name, "way": "plug-in", "origin": package}
        for role in MODEL_ROLES
        for name, package in plugin_packages(role)
    ]
    if args.json:
        known = [{**asdict(model), "here": is_here(model)} for model in KNOWN_MODELS]
        print(json.dumps([*known, *plugins], indent=2))
        return ExitCode.DONE
    rows = [_row(model) for model in KNOWN_MODELS]
    rows += [(one["role"], one["spec"], "", "", "a plug-in", "", one["origin"]) for one in plugins]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines([_COLUMNS, *rows], width=width):
        print(printable(line))
    return ExitCode.DONE


def _row(model: KnownModel) -> tuple[str, ...]:
    size = "unknown" if model.megabytes is None else f"{model.megabytes:g} MB"
    here = "" if model.way is Way.HAND else "yes" if is_here(model) else "no"
    return (model.role, model.spec, size, here, model.what, model.licence, model.where_from)


def table_lines(rows: Sequence[Sequence[str]], *, width: int | None) -> Iterator[str]:
    """Yields the lines of an aligned table; the first row names the columns.

    Args:
        rows: The cells.
        width: Of the terminal; where a row is longer, the last three columns go below it, wrapped.
            None does not limit the lines.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    short = len(widths) if width is None or sum(widths) + 2 * len(widths) <= width else -3
    for row in rows:
        cells = zip(row[:short] if short < 0 else row, widths, strict=False)
        yield "  ".join(cell.ljust(size) for cell, size in cells).rstrip()
        if short < 0:
            rest = "; ".join(filter(None, row[short:]))
            yield from textwrap.wrap(
                rest, width or 0, initial_indent="    ", subsequent_indent="    "
            )


def fetch(args: argparse.Namespace) -> int:
    """Downloads models, loads each once, and prints the hashes of its files and weights.

    Raises:
        WeightsError: A model cannot be downloaded or loaded.
        OSError: The disk is full, or the folder cannot be written.
    """
    for role, spec in args.models.items():
        print(printable(f"{role} {spec}"), flush=True)
        place = _fetched(role, spec, to=args.to)
        model = make_model(_loadable(role, place), place, **_PLACE)
        print(f"  weights {model.weights_sha256}", flush=True)
    return ExitCode.DONE


_PLACE: dict[str, Any] = {"device": "cpu", "dtype": "float32", "batch_clips": 1}


def _fetched(role: str, spec: ModelSpec, *, to: str | None) -> ModelSpec:
    """Fetches a model, prints its files, and returns the spec that loads what was fetched."""
    files = model_files(role, spec)
    for path in files:
        digest, size = sha256_of(str(path))
        print(printable(f"  {digest}  {size / 1e6:9.1f} MB  {path.name}"))
    if not files:
        place = "from this machine" if is_local(spec) else "with an installed package"
        print(f"  comes {place}: there is nothing to download")
    if not files or to is None:
        return spec
    copy = _copied(role, spec, files, to=Path(to))
    print(printable(f"  to load it from the folder: --{role} {copy}"))
    return copy


def _copied(role: str, spec: ModelSpec, files: Sequence[Path], *, to: Path) -> ModelSpec:
    """Copies files to a folder named as their source, and returns the spec that loads them."""
    known = known_as(role, spec)
    folder = to / (spec.source or (known and ModelSpec.parse(known.spec).source) or spec.name)
    write_folder(files, folder)
    return ModelSpec(name=spec.name, source=str(folder), options=spec.options)


def check(args: argparse.Namespace) -> int:
    """Checks each model, prints what is found, and returns the exit code."""
    torch.set_num_threads(1)
    set_numerics()
    problems = 0
    for role, spec in args.models.items():
        print(printable(f"{role} {spec}"), flush=True)
        try:
            for line in _checked(role, spec, _place(args)):
                print(printable(f"  {line}"), flush=True)
        except (ValueError, ConformanceError) as error:
            problems += 1
            print(printable(f"  broken: {error}"), flush=True)
    return ExitCode.FAILED if problems else ExitCode.DONE


def _checked(role: str, spec: ModelSpec, place: dict[str, Any]) -> Iterator[str]:
    """Yields what is found; raises at the first rule that is broken."""
    if spec.source is not None:
        wrong = broken_files(Path(spec.source))
        if wrong:
            raise ValueError("; ".join(wrong))
    kind = _loadable(role, spec)
    make = partial(make_model, kind, spec, **place)
    model = make()
    yield f"weights {model.weights_sha256}"
    yield _described(model)
    if kind == "separator":
        check_on_known_song(model, SeparationLimits(), name=str(spec))
        check_separator(make)
    elif kind == "acoustic":
        check_codec(make)
    elif kind == "semantic":
        check_semantic_encoder(make)
    else:
        check_batch_invariance(model.features, noise_clips(model.sample_rate_hz // 2))
        yield "its features; there is no codebook to check the codes with: see `singsong fit`"
    yield "ok"


def _described(model: Any) -> str:
    geometry = getattr(model, "geometry", None)
    if geometry is None:
        return f"{model.sample_rate_hz} Hz"
    codes = f"{geometry.codebook_size} codes"
    books = getattr(geometry, "codebooks", None)
    codes = f"{books} codebooks of {codes}" if books else codes
    return f"{geometry.sample_rate_hz} Hz, {geometry.frame_rate_hz:g} frames/s, {codes}"


def bench(args: argparse.Namespace) -> int:
    """Prints how fast each model runs, in a process of its own with one thread."""
    kind = "peak GPU MB" if args.device.startswith("cuda") else "peak MB"
    rows: list[tuple[str, ...]] = [
        ("role", "model", "does", "s a clip", "x realtime", "core-s a clip", kind)
    ]
    for role, spec in args.models.items():
        print(printable(f"{role} {spec} ..."), file=sys.stderr, flush=True)
        speeds = measure_apart(
            _loadable(role, spec), spec, seconds=args.seconds, place=_place(args)
        )
        rows += [(role, *_speed_row(spec, speed, seconds=args.seconds)) for speed in speeds]
    for line in table_lines(rows, width=None):
        print(printable(line))
    return ExitCode.DONE


def _speed_row(spec: ModelSpec, speed: Speed, *, seconds: float) -> tuple[str, ...]:
    return (
        str(spec),
        speed.does,
        f"{speed.wall_s:.3f}",
        f"{seconds / speed.wall_s:.1f}",
        f"{speed.core_s:.3f}",
        "unknown" if speed.peak_mb is None else f"{speed.peak_mb:.0f}",
    )


def _loadable(role: str, spec: ModelSpec) -> str:
    """Returns the role to load a model in: the features alone where a codebook is not named."""
    lacks_codebook = role == "semantic" and "codebook" not in dict(spec.options)
    return "features" if lacks_codebook and spec.name in ADAPTERS["features"] else role


def _place(args: argparse.Namespace) -> dict[str, Any]:
    return {"device": args.device, "dtype": args.dtype, "batch_clips": args.batch_clips}


ACTIONS = {"list": list_models, "fetch": fetch, "check": check, "bench": bench}
