"""README tells the truth where that can be checked."""

import re
import shlex
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as file_systems

from singsong.commands import cli
from singsong.models.bundle import load_models
from singsong.schemas.recipe import EncodeRecipe
from singsong.schemas.records import fields_table, record_fields, shard_fields

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\$ ((?:.+\\\n)*.+)$", README, re.MULTILINE)
SINGSONG = [command.replace("\\\n", " ") for command in COMMANDS if command.startswith("singsong")]


def test_the_table_of_fields_is_that_of_the_schema() -> None:
    recipe = EncodeRecipe()
    fields = shard_fields(record_fields(recipe, load_models(recipe).geometry))
    assert fields_table(fields) in README


@pytest.mark.parametrize("command", SINGSONG)
def test_every_command_has_the_flags_that_readme_gives_it(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags are parsed before anything is read: what fails is the music that is not there."""
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setitem(file_systems, "gs", MemoryFileSystem)  # buckets are empty
    monkeypatch.chdir("/")
    command = re.sub(r"\b(gs|s3)://", "memory://", command)  # nothing is asked of a real store
    if "demo-songs" in command:
        command += " --songs 0"
    assert cli.main(shlex.split(command)[1:]) == 1
    assert "usage" not in capsys.readouterr().err


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make")}
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_file_that_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:schemas|models|tests|transforms|benchmarks)/[\w./]*)`", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / name).exists(), name
