"""The real command with the real lite models, killed and stopped in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import cli
from tests.fakes import write_tones

ROOT = Path(__file__).resolve().parents[2]


def start(music: Path, output: Path, *flags: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipelines.cli", "prepare", str(music)]
    return subprocess.Popen(
        [*command, "--output", str(output), "--clip-seconds", "2", *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def parts(output: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in output.rglob("parts/*/*.parquet")}


def wait_for_parts(process: "subprocess.Popen[str]", output: Path, *, at_least: int) -> None:
    deadline = time.monotonic() + 120
    while len(parts(output)) < at_least:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.01)


def digest(output: Path) -> str:
    return str(json.loads((output / "manifest.json").read_text())["dataset_digest"])


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    write_tones(folder, tracks=16, seconds=8)
    return folder


@pytest.fixture(scope="module")
def whole(music: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Returns the digest of an undisturbed run with one worker."""
    output = tmp_path_factory.mktemp("whole")
    process = start(music, output, "--workers", "1")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    return digest(output)


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_ends_the_same(
    music: Path, whole: str, tmp_path: Path
) -> None:
    process = start(music, tmp_path, "--workers", "2")
    wait_for_parts(process, tmp_path, at_least=3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    done = parts(tmp_path)
    assert 3 <= len(done) < 16
    assert not (tmp_path / "manifest.json").exists()
    again = start(music, tmp_path, "--workers", "2")
    printed, _ = again.communicate(timeout=300)
    assert again.returncode == 0, printed
    assert digest(tmp_path) == whole
    after = parts(tmp_path)
    assert {name: after[name] for name in done} == done
    assert cli.main(["dataset", "verify", str(tmp_path)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["in_memory", "multi_threading", "multi_processing"])
def test_interrupted_it_stops_and_says_how_to_go_on(
    music: Path, whole: str, tmp_path: Path, mode: str
) -> None:
    process = start(music, tmp_path, "--mode", mode)
    wait_for_parts(process, tmp_path, at_least=2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: worker processes hear it too
    printed, _ = process.communicate(timeout=90)
    assert process.returncode == 130, printed
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "manifest.json").exists()
    again = start(music, tmp_path)
    printed, _ = again.communicate(timeout=300)
    assert again.returncode == 0, printed
    assert digest(tmp_path) == whole


@pytest.mark.slow
def test_processes_give_the_same_dataset(music: Path, whole: str, tmp_path: Path) -> None:
    process = start(music, tmp_path, "--mode", "multi_processing", "--workers", "2")
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    assert digest(tmp_path) == whole
