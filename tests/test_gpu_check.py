"""The script for machines with a GPU, on a CPU: nothing that it measured is ever lost."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.gpu import device
from benchmarks.gpu.device import seconds, seconds_a_run
from benchmarks.gpu.sections import Section, run_section
from tests.support import sections_that_end
from tests.support.gpu_reports import plan_of, rows_of


def light_section(function: str) -> Section:
    return Section(title=function, work=f"{sections_that_end.__name__}:{function}", weight=1)


def test_a_section_that_fails_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    functions = {"machine": "succeed", "training": "fail", "generation": "succeed"}
    sections = {name: light_section(function) for name, function in functions.items()}
    monkeypatch.setattr(gpu_check, "SECTIONS", sections)
    arguments = ["--device", "cpu", "--only", "training", "generation"]
    assert gpu_check.main(arguments) == 1
    text = capsys.readouterr().out
    assert text.count("All is well.") == 2
    assert "### fail\n\n\n**This section failed: ValueError: no such thing**\n" in text
    assert gpu_check.main([*arguments[:3], "generation"]) == 0


def test_time_that_a_section_leaves_goes_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock jumps by 20 s in each section, of which each may take a part of what is left."""
    now, limits = [0.0], []

    def quick_section(section: Section, *_: object, limit_s: float) -> bool:
        limits.append((section.weight, limit_s))
        now[0] += 20
        return True

    monkeypatch.setattr(gpu_check, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(gpu_check, "run_section", quick_section)
    assert gpu_check.main(["--device", "cpu", "--minutes", "10"]) == 0
    weights = [weight for weight, _ in limits]
    expected = [
        (600 - 20 * index) * weight / sum(weights[index:]) for index, weight in enumerate(weights)
    ]
    assert [limit_s for _, limit_s in limits] == pytest.approx(expected)
    assert limits[-1][1] == 500


def test_what_a_section_measured_stays_when_its_process_dies(tmp_path: Path) -> None:
    section = light_section("write_and_die")
    path = tmp_path / "report.md"
    assert not run_section(section, plan_of(tmp_path), path, limit_s=300)
    text = path.read_text()
    assert text.startswith("\n### write_and_die\n\n| measured | 1 |\n")
    assert "**The process ended with exit code -9: the rest is missing**" in text


def test_a_section_ends_with_its_time(tmp_path: Path) -> None:
    section = light_section("never_end")
    path = tmp_path / "report.md"
    assert not run_section(section, plan_of(tmp_path), path, limit_s=0)
    assert "**Not done after 0 s, its share of --minutes: the rest is missing**" in path.read_text()


def test_a_missing_gpu_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--device", "cuda:99"]) == 1
    assert "error: device 'cuda:99' was asked for" in capsys.readouterr().err


def test_speed_is_measured_over_as_many_runs_as_fit() -> None:
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        time.sleep(0.01)

    assert seconds(work, "cpu") >= 0.01
    assert 0.01 <= seconds_a_run(work, "cpu", measure_s=0.0) < 10
    assert len(runs) == 3
    assert seconds_a_run(work, "cpu", measure_s=0.2) >= 0.01
    assert len(runs) > 5


def test_a_gpu_is_waited_for_and_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no machine without one runs: the calls of torch are recorded instead."""
    calls: list[str] = []
    for name in ("init", "synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 3 * 2**29)
    found = SimpleNamespace(name="NVIDIA H200", total_memory=140 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: found)
    monkeypatch.setattr(device.shutil, "which", lambda _: None)
    device.seconds(lambda: calls.append("work"), "cuda")
    device.free_memory("cuda:1")
    waited = ["synchronize", "work", "synchronize"]
    assert calls == [*waited, "init", "empty_cache", "reset_peak_memory_stats"]
    assert device.peak_gib("cuda") == "1.5"
    sentence = device.described("cuda")
    assert sentence.startswith(f"NVIDIA H200, 140 GiB, CUDA {torch.version.cuda}, driver unknown; ")
    assert device.peak_gib("cpu") == ""


@pytest.mark.slow
def test_the_script_compares_and_measures_the_whole_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.md"
    arguments = ["--device", "cpu", "--tiny", "--output", str(output)]
    assert gpu_check.main([*arguments, "--only", "agreement", "separation", "chain"]) == 0
    text = output.read_text()
    assert text in capsys.readouterr().out
    titles = [line for line in text.splitlines() if line.startswith("### ")]
    assert titles == [
        *("### The machine", "### Agreement with the CPU", "### Separation", "### The whole chain")
    ]
    assert "CPU only: " in text
    rows = rows_of(text)
    exact = [row for row in rows if row[1] == "cpu, float32"]
    assert [row[0] for row in exact[:4]] == [
        *("spleeter", "demucs, random weights", "dac, random weights", "w2v-bert, random weights")
    ]
    assert all(row[2:7] == ["100 %"] * 5 for row in exact[2:])
    assert len(exact) == 4 + 2 * 4  # two chains, of two sounds with two kinds of code
    rounded = {row[0]: row for row in rows if row[1] == "cpu, bfloat16"}
    assert rounded["dac, random weights"][4] != "100 %"
    assert 20 < float(rounded["spleeter"][3]) < 60
    speeds = [row for row in rows if row[1] == "float32"]
    assert [row[:3] for row in speeds] == [
        *(["spleeter", "float32", "1"], ["spleeter", "float32", "2"]),
        *(
            [name, "float32", str(batch)]
            for name in ("demucs, random weights",)
            for batch in (1, 2)
        ),
        *([name, "float32", str(threads)] for name in ("lite", "networks") for threads in (1, 2)),
    ]
    assert all(float(row[3]) > 0 for row in speeds)
    for chain in speeds[4:]:
        steps = [float(cell.rstrip("%")) for cell in chain[4:11]]
        assert sum(steps) == pytest.approx(100, abs=0.5)
        assert min(steps[:2]) > 0
        on_device = steps[1] if chain[0] == "lite" else steps[1] + steps[3] + steps[4]
        assert float(chain[11].rstrip("%")) == pytest.approx(on_device, abs=0.2)


@pytest.mark.slow
def test_the_script_measures_training_and_generation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--device", "cpu", "--tiny", "--only", "training", "generation"]
    assert gpu_check.main(arguments) == 0
    rows = rows_of(capsys.readouterr().out)
    training = {(row[0], row[1]): row[2:] for row in rows[:5]}
    names = (
        ("eager", "1"),
        ("eager", "2"),
        ("compiled", "2"),
        ("compiled, reading the dataset", "2"),
    )
    for name in names:
        clips, tokens, share, memory = training[name]
        assert float(tokens.replace(",", "")) == pytest.approx(18 * float(clips), rel=0.1)
        assert (share, memory) == ("unknown", "")
    for row, windows in zip(rows[6:], ("1", "2"), strict=True):
        assert row[0] == windows
        ours, theirs = (float(row[cell].replace(",", "")) for cell in (2, 3))
        assert float(row[4].rstrip("x")) == pytest.approx(ours / theirs, abs=0.1)
