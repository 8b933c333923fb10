"""What the script for machines with a GPU compares: codes and vocals of a device and of the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.gpu import agreement
from benchmarks.gpu.compare import Difference, compare_audio, compare_codes, percent
from benchmarks.gpu.material import MIX_HZ, compared_clips, other_clips, prepare
from benchmarks.gpu.networks import spec_of
from benchmarks.gpu.report import Report
from benchmarks.support.demucs_files import PUBLISHED_HTDEMUCS, htdemucs
from singsong.models.bundle import Models
from singsong.models.conformance import noise_clips
from singsong.models.dac import DacCodec
from singsong.models.registry import load_model
from singsong.schemas.arrays import CodeArray, FloatArray
from tests.support.fakes import FakeCodec, FakeEncoder, FakeSeparator, tone
from tests.support.gpu_reports import plan_of, rows_of

FAKES = ("--separator", "fake", "--acoustic", "fake", "--semantic", "fake")


def test_shares_are_counted_and_the_first_difference_of_each_frame_is_named() -> None:
    expected = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    found = expected.copy()
    found[0, 1, 2:] = 99  # two codes of one frame
    found[1, 2, 0] = 77
    agreement = compare_codes(expected, found, coarse=2)
    assert agreement.first == 5 / 6
    assert agreement.coarse == 11 / 12
    assert agreement.all == 21 / 24
    assert agreement.frames == 4 / 6
    assert agreement.clips == 0
    assert agreement.differences == (
        Difference(clip=0, frame=1, codebook=2, expected=6, found=99),
        Difference(clip=1, frame=2, codebook=0, expected=20, found=77),
    )
    assert agreement.by_codebook() == {1: 1, 3: 1}


def test_semantic_codes_have_one_codebook() -> None:
    expected = np.zeros((4, 5), np.uint16)
    found = expected.copy()
    found[2, 3] = 1
    agreement = compare_codes(expected, found)
    assert (agreement.first, agreement.all, agreement.frames) == (19 / 20, 19 / 20, 19 / 20)
    assert agreement.clips == 3 / 4
    assert compare_codes(expected, expected).differences == ()


def test_one_part_in_a_thousand_is_60_db() -> None:
    expected = np.array([[0.5, -0.5, 0.5]], np.float32)
    largest, snr_db = compare_audio(expected, expected * np.float32(1.001))
    assert largest == pytest.approx(0.0005, rel=1e-3)
    assert snr_db == pytest.approx(60, abs=0.01)
    assert compare_audio(expected, expected) == (0, np.inf)
    assert compare_audio(0 * expected, expected) == (0.5, -np.inf)


def test_arrays_of_different_shapes_are_refused() -> None:
    codes = np.zeros((2, 3, 4), np.uint16)
    with pytest.raises(ValueError, match=r"codes must be \[2, 3, 4\], found \[2, 3, 1\]"):
        compare_codes(codes, codes[..., :1])
    with pytest.raises(ValueError, match=r"audio must be \[2, 3\], found \[1, 3\]"):
        compare_audio(np.zeros((2, 3), np.float32), np.zeros((1, 3), np.float32))


def test_only_equal_codes_are_a_hundred_per_cent() -> None:
    assert [percent(share) for share in (1, 0.99999999, 0.5)] == ["100 %", "99.9999 %", "50.0000 %"]


def test_an_error_in_one_layer_is_found_where_it_is(tmp_path: Path) -> None:
    """Two entries of the last codebook change places: what was one of them is now the other."""
    spec = spec_of("acoustic", plan_of(tmp_path))
    clips = noise_clips(8000)
    right, wrong = DacCodec(spec.source), DacCodec(spec.source)
    expected = right.encode(clips)
    assert compare_codes(expected, wrong.encode(clips)).all == 1
    values, counts = np.unique(expected[..., -1], return_counts=True)
    one, other = (int(values[index]) for index in np.argsort(counts)[-2:])
    with torch.no_grad():
        entries = wrong._model.quantizer.quantizers[-1].codebook.weight
        entries[[one, other]] = entries[[other, one]].clone()
    swapped = np.isin(expected[..., -1], (one, other))
    found = compare_codes(expected, wrong.encode(clips), coarse=4)
    assert 0 < swapped.sum() < swapped.size
    assert (found.first, found.coarse) == (1, 1)
    assert found.all == pytest.approx(1 - swapped.sum() / expected.size)
    assert found.frames == pytest.approx(1 - swapped.mean())
    assert found.by_codebook() == {12: swapped.sum()}


def test_a_slightly_wrong_weight_changes_codes(tmp_path: Path) -> None:
    spec = spec_of("acoustic", plan_of(tmp_path))
    clips = noise_clips(8000)
    right, wrong = DacCodec(spec.source), DacCodec(spec.source)
    with torch.no_grad():
        wrong._model.encoder.conv1.weight[0] *= 1.01
    expected, found = right.encode(clips), wrong.encode(clips)
    share = compare_codes(expected, found).all
    assert share == (expected == found).mean()
    assert 0.5 < share < 1


class WrongCodec(FakeCodec):
    """One code of the second clip of a batch is another one."""

    def encode(self, audio: FloatArray) -> CodeArray:
        codes = super().encode(audio)
        codes[1, 0, 1] += 1
        return codes


class WrongSeparator(FakeSeparator):
    """A thousandth of the vocals is missing."""

    def separate_vocals(self, mix: FloatArray) -> FloatArray:
        return super().separate_vocals(mix) * np.float32(0.999)


def fake_model(role: str, spec: Any, *, dtype: str, **where: Any) -> Any:
    """The fakes in float32, and wrong ones in bfloat16."""
    if spec.name == "broken":
        raise ValueError("this one is broken")
    right = {"separator": FakeSeparator, "acoustic": FakeCodec, "semantic": FakeEncoder}
    wrong = {**right, "separator": WrongSeparator, "acoustic": WrongCodec}
    return (right if dtype == "float32" else wrong)[role]()


@pytest.fixture
def with_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clips of one second, and fakes of all models."""
    clips = {"low": tone(1.0, hz=300), "high": tone(1.0, hz=500)}

    def fake_models(recipe: Any) -> Models:
        acoustic = WrongCodec() if recipe.dtype == "bfloat16" else FakeCodec()
        return Models(acoustic=acoustic, semantic=FakeEncoder(), separator=FakeSeparator())

    monkeypatch.setattr(agreement, "compared_clips", lambda _plan: clips)
    monkeypatch.setattr(agreement, "load_model", fake_model)
    monkeypatch.setattr(agreement, "load_models", fake_models)


def agreement_report(folder: Path, *arguments: str) -> tuple[Report, str]:
    path = folder / "report.md"
    report = Report(path)
    agreement.measure(plan_of(folder, *arguments), report)
    return report, path.read_text()


@pytest.mark.usefixtures("with_fakes")
def test_the_report_holds_what_differs(tmp_path: Path) -> None:
    report, text = agreement_report(tmp_path, *FAKES)
    assert not report.failed
    rows = {(row[0], row[1]): row[2:] for row in rows_of(text)}
    assert rows["fake", "cpu, float32"] == ["100 %"] * 5 + ["the same"]  # of the semantic codes
    assert rows["networks: vocals_acoustic", "cpu, float32"] == ["100 %"] * 5 + [""]
    assert "| fake | cpu, float32 | 0.0e+00 | inf | the same |" in text
    levels = {row[3]: row[2] for row in rows_of(text) if row[0] == "fake" and len(row) == 5}
    vocals = FakeSeparator().separate_vocals(np.stack([tone(1.0, hz=300), tone(1.0, hz=500)]))
    assert levels == {"inf": "0.0e+00", "60.0": f"{np.abs(vocals).max() / 1000:.1e}"}
    # 20 frames of 2 codebooks a clip; of two clips, one code differs.
    share = percent(79 / 80)
    assert (
        f"| fake | cpu, bfloat16 | 100 % | 100 % | {share} | {percent(39 / 40)} | 50.0000 % "
        "| NOT the same |"
    ) in text
    assert "fake, cpu, bfloat16: 1 frames differ, and begin to: 1 in codebook 2." in text
    assert "The first: high, frame 0, codebook 2: " in text


@pytest.mark.usefixtures("with_fakes")
def test_a_model_that_fails_costs_no_other(tmp_path: Path) -> None:
    flags = ("--separator", "broken", "--acoustic", "fake", "--semantic", "broken")
    report, text = agreement_report(tmp_path, *flags)
    assert report.failed
    for what in ("the networks separator", "the semantic codes"):  # a row, or the table would end
        assert f"\n| **comparing {what} failed: ValueError: this one is broken** |\n" in text
    whole = [row[0] for row in rows_of(text) if row[1:2] == ["cpu, float32"]]
    assert whole[:2] == ["spleeter", "fake"]
    assert "lite: instrumental_semantic" in whole


def test_the_networks_with_random_weights_have_the_published_sizes(tmp_path: Path) -> None:
    """DAC and w2v-BERT 2.0 are the defaults of their classes."""
    separator = htdemucs(**PUBLISHED_HTDEMUCS)
    assert sum(values.numel() for values in separator.parameters()) == 41_984_456
    codec = load_model("acoustic", spec_of("acoustic", plan_of(tmp_path)))
    assert codec.encode(noise_clips(16000)[:1]).shape == (1, 50, 12)


@pytest.mark.slow
def test_a_codebook_is_made_of_clips_that_are_not_compared(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    prepare(plan, Report(tmp_path / "report.md"))
    compared = compared_clips(plan)
    assert len(compared) == 4
    others = other_clips(plan, MIX_HZ)
    assert others.shape == (2, 44100)
    assert not any(np.array_equal(clip, other) for clip in compared.values() for other in others)
    encoder = load_model("semantic", spec_of("semantic", plan))
    assert encoder.geometry.codebook_size == plan.sizes.codes
    assert len(np.unique(encoder.encode(noise_clips(16000)))) > 1
