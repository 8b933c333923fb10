"""The Dockerfile agrees with the rest, as far as that can be seen without Docker."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.dockerfile import ROOT, arguments, environment, last_stage, read_dockerfile

INSTRUCTIONS = read_dockerfile()
ARGUMENTS = arguments(INSTRUCTIONS)
STAGE = last_stage(INSTRUCTIONS)
LOCKED = dict(
    line.partition(" ;")[0].split("==")
    for line in (ROOT / "requirements.lock").read_text().splitlines()
)


def test_beam_is_that_of_the_lock_file() -> None:
    assert ARGUMENTS["BEAM"] == LOCKED["apache-beam"]


def test_python_is_the_one_that_the_lock_file_is_for() -> None:
    minors = re.findall(r"python:?(\d\.\d+)", (ROOT / "Dockerfile").read_text())
    assert len(minors) == 2
    assert set(minors) == {re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text())[1]}


def test_every_version_is_pinned() -> None:
    for one in INSTRUCTIONS:
        if one.keyword == "FROM" and one.words[0] not in ("scratch", "${BASE}"):
            assert ":" in one.words[0], one
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", ARGUMENTS["BASE"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", ARGUMENTS["UV"])
    commands = [one.text for one in STAGE if one.keyword == "RUN" and " install " in one.text]
    assert len(commands) == 3
    for command in commands:
        assert (
            "==" in command or "--constraints requirements.lock" in command or "no-deps" in command
        )


def test_every_file_that_is_copied_is_there_and_is_not_ignored() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    assert all((ROOT / name).exists() for name in kept)
    copied = {
        name
        for one in INSTRUCTIONS
        if one.keyword == "COPY" and "from" not in one.flags
        for name in one.words[:-1]
    }
    assert copied - {"."} <= kept
    setup = (ROOT / "setup.py").read_text()
    rooms = set(re.findall(r'"(\w+)"', re.search(r"ROOMS = \[(.*?)\]", setup, re.DOTALL)[1]))
    assert rooms <= kept


def test_the_worker_is_started_by_beam_and_is_not_root() -> None:
    assert STAGE[-1].text == '["/opt/apache/beam/boot"]'
    *_, folder = [one.text for one in STAGE if one.keyword == "WORKDIR"]
    assert folder.startswith("/home/"), "boot writes a file to the folder where it starts"
    (user,) = [one.text for one in STAGE if one.keyword == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert environment(STAGE)["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"
    assert environment(STAGE)["HF_HUB_OFFLINE"] == "1"


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    printed = subprocess.run(
        [hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (printed.stdout, printed.stderr) == ("", "")


@pytest.mark.parametrize("target", ["image", "push"])
def test_without_docker_make_says_so(target: str, tmp_path: Path) -> None:
    for tool in ("make", "sh", "echo"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    printed = subprocess.run(
        ["make", target, "IMAGE=registry/name:tag"],
        cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert printed.returncode != 0
    assert "needs Docker" in printed.stdout


@pytest.mark.parametrize("target", ["image", "push"])
def test_without_a_name_make_says_so(target: str) -> None:
    printed = subprocess.run(
        ["make", target], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert printed.returncode != 0
    assert f"make {target} IMAGE=" in printed.stdout
