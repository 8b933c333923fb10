"""Compares vocals and codes of a device with those of the CPU, on the same clips and batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.gpu.compare import CodeAgreement, compare_audio, compare_codes, percent
from benchmarks.gpu.device import free_memory
from benchmarks.gpu.material import MIX_HZ, compared_clips
from benchmarks.gpu.networks import chain_specs, chains, recipe_of, separators, spec_of
from benchmarks.gpu.plan import CPU_ONLY, Plan
from benchmarks.gpu.report import Report
from singsong.audio.resample import resample
from singsong.models.bundle import load_models
from singsong.models.registry import load_model
from singsong.schemas.arrays import CodeArray, FloatArray
from singsong.schemas.outcomes import ClipStatus
from singsong.schemas.recipe import DTYPES, ModelSpec
from singsong.transforms.stopwatch import Stopwatch
from singsong.transforms.track_rows import TrackRows

_SHOWN = 3
"""How many of the differences of a row are shown."""


def measure(plan: Plan, report: Report) -> None:
    """Reports how far separators, codecs, encoders and whole chains agree with the CPU."""
    clips = compared_clips(plan)
    report.line(
        f"{len(clips)} clips of {plan.sizes.clip_seconds:g} s, in batches of "
        f"{plan.sizes.compared_batch}; the reference is float32 on the CPU."
    )
    mixes = np.stack(list(clips.values()))
    report.table("vocals of", "on", "largest difference", "SNR, dB", "in other batches")
    for name in separators(plan):
        with report.keep_going(f"comparing the {name} separator"):
            _compare_separator(chain_specs(name, plan)["separator"], mixes, plan, report)
    table = CodeTable(report, names=list(clips))
    for role in ("acoustic", "semantic"):
        with report.keep_going(f"comparing the {role} codes"):
            _compare_codes(role, spec_of(role, plan), mixes, plan, table)
    for name in chains(plan):
        with report.keep_going(f"comparing the chain {name}"):
            # On a CPU, networks of real size take a minute for more clips.
            _compare_chain(name, mixes[: 2 * plan.sizes.compared_batch], plan, table)
    table.show_differences()


def _compare_separator(spec: ModelSpec, mixes: FloatArray, plan: Plan, report: Report) -> None:
    expected = _load("separator", spec, plan, "cpu", "float32").separate_vocals(mixes)
    for dtype in DTYPES:
        separator = _load("separator", spec, plan, plan.device, dtype)
        found = separator.separate_vocals(mixes)
        again = separator.separate_vocals(mixes[::-1])[::-1]
        largest, snr_db = compare_audio(expected, found)
        report.row(
            *(plan.label(spec), f"{plan.device}, {dtype}", f"{largest:.1e}", f"{snr_db:.1f}"),
            _same(found, again),
        )


def _compare_codes(
    role: str, spec: ModelSpec, mixes: FloatArray, plan: Plan, table: CodeTable
) -> None:
    if spec.name == CPU_ONLY:
        return
    reference = _load(role, spec, plan, "cpu", "float32")
    audio = resample(mixes, from_hz=MIX_HZ, to_hz=reference.geometry.sample_rate_hz)
    expected = reference.encode(audio)
    for dtype in DTYPES:
        model = _load(role, spec, plan, plan.device, dtype)
        found = model.encode(audio)
        again = model.encode(audio[::-1])[::-1]
        coarse = getattr(reference.geometry, "coarse_codebooks", 1)
        agreement = compare_codes(expected, found, coarse=coarse)
        table.add(plan.label(spec), f"{plan.device}, {dtype}", agreement, again=_same(found, again))


def _compare_chain(chain: str, mixes: FloatArray, plan: Plan, table: CodeTable) -> None:
    """Compares what is stored in the end: other vocals are other audio to encode."""
    expected, coarse = _chain_codes(chain, mixes, plan, "cpu", "float32")
    for dtype in plan.sizes.dtypes:
        found, _ = _chain_codes(chain, mixes, plan, plan.device, dtype)
        for field, codes in found.items():
            agreement = compare_codes(expected[field], codes, coarse=coarse)
            table.add(f"{chain}: {field}", f"{plan.device}, {dtype}", agreement)


def _chain_codes(
    chain: str, mixes: FloatArray, plan: Plan, device: str, dtype: str
) -> tuple[dict[str, CodeArray], int]:
    """Returns the codes of vocals and instrumentals, and the number of coarse codebooks."""
    batch = plan.sizes.compared_batch
    recipe = recipe_of(chain, plan, device=device, dtype=dtype, batch_clips=batch)
    models = load_models(recipe)
    rows = list(
        TrackRows(track_id="", recipe=recipe, models=models, watch=Stopwatch()).rows(list(mixes))
    )
    for row in rows:
        if row.status is not ClipStatus.ENCODED:
            raise RuntimeError(f"clip {row.clip_index} is {row.status}: {row.message}")
    codes = {
        field: np.stack([row.codes[field] for row in rows])
        for field in rows[0].codes
        if not field.startswith("vocals_noisy")
    }
    return codes, models.geometry.acoustic.coarse_codebooks


def _load(role: Any, spec: ModelSpec, plan: Plan, device: str, dtype: str) -> Any:
    free_memory(plan.device)
    batch = plan.sizes.compared_batch
    return load_model(role, spec, device=device, dtype=dtype, batch_clips=batch)


def _same(one: Any, other: Any) -> str:
    return "the same" if np.array_equal(one, other) else "NOT the same"


class CodeTable:
    """The table of codes, and below it where they differ.

    Args:
        report: Where it is written.
        names: The names of the clips.
    """

    def __init__(self, report: Report, *, names: Sequence[str]) -> None:
        self._report, self._names = report, names
        self._differing: list[tuple[str, CodeAgreement]] = []
        report.table(
            *("codes of", "on", "first codebook", "coarse", "all"),
            *("whole frames", "whole clips", "in other batches"),
        )

    def add(self, what: str, where: str, found: CodeAgreement, *, again: str = "") -> None:
        """Adds a row: the shares that equal the CPU's, and whether other batches change codes."""
        shares = (found.first, found.coarse, found.all, found.frames, found.clips)
        self._report.row(what, where, *map(percent, shares), again)
        if found.differences:
            self._differing.append((f"{what}, {where}", found))

    def show_differences(self) -> None:
        """Writes where the codes of each row begin to differ."""
        self._report.line(f"\n`{CPU_ONLY}` codecs and encoders run on the CPU, on every machine.\n")
        for what, found in self._differing:
            counts = found.by_codebook()
            begins = ", ".join(f"{count} in codebook {book}" for book, count in counts.items())
            shown = "; ".join(
                f"{self._names[one.clip]}, frame {one.frame}, codebook {one.codebook + 1}: "
                f"{one.expected} became {one.found}"
                for one in found.differences[:_SHOWN]
            )
            self._report.line(
                f"- {what}: {len(found.differences)} frames differ, and begin to: {begins}. "
                f"The first: {shown}."
            )
