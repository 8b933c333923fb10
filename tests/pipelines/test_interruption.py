"""The real command with the real lite models, killed and stopped in the middle."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from benchmarks.support.command import digest, finish, parts, start_prepare, wait_for_parts
from singsong.commands import cli
from tests.support.fakes import write_tones


def start(music: Path, output: Path, *flags: str) -> "subprocess.Popen[str]":
    return start_prepare(music, output, "--clip-seconds", "2", *flags)


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
    finish(process)
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
    finish(again)
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
    printed = finish(process, code=130, timeout_s=90)
    assert "run the same command again" in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "manifest.json").exists()
    again = start(music, tmp_path)
    finish(again)
    assert digest(tmp_path) == whole


@pytest.mark.slow
def test_processes_give_the_same_dataset(music: Path, whole: str, tmp_path: Path) -> None:
    process = start(music, tmp_path, "--mode", "multi_processing", "--workers", "2")
    finish(process)
    assert digest(tmp_path) == whole
