"""README and docs tell the truth where that can be checked."""

import argparse
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry as file_systems

from singsong.commands import cli
from singsong.models.bundle import load_models
from singsong.schemas.errors import ClipError
from singsong.schemas.recipe import EncodeRecipe
from singsong.schemas.records import fields_table, record_fields, shard_fields
from tests.docs.pages import PAGES, ROOT, Snippet, commands, python_blocks

COMMANDS = commands()
SINGSONG = [one for one in COMMANDS if re.match(r"(torchrun .*)?singsong ", one.text)]
sys.path.insert(0, str(ROOT / "docs" / "hooks"))
import cli_reference  # noqa: E402


def test_readme_is_a_page_and_not_a_book() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_pages_name_the_versions_of_python_that_can_be_installed() -> None:
    setup = (ROOT / "setup.py").read_text()
    ((first, after),) = re.findall(r'python_requires=">=3\.(\d+),<3\.(\d+)"', setup)
    for name in ("README.md", "CONTRIBUTING.md", "docs/quickstart.md"):
        assert f"Python 3.{first} to 3.{int(after) - 1}" in (ROOT / name).read_text(), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_page_begins_with_a_title_and_says_what_it_is_for(path: Path) -> None:
    title, _, rest = path.read_text().partition("\n")
    assert title.startswith(("# ", "--8<-- "))
    if title.startswith("# "):
        first = rest.strip().split("\n\n")[0]
        assert first[0].isalpha(), first
        assert re.search(r"[.:]$", first), first


def test_the_table_of_fields_is_that_of_the_schema() -> None:
    recipe = EncodeRecipe()
    fields = shard_fields(record_fields(recipe, load_models(recipe).geometry))
    assert fields_table(fields) in (ROOT / "docs/reference/file-formats.md").read_text()


def test_every_reason_is_in_the_specification() -> None:
    page = (ROOT / "docs/reference/file-formats.md").read_text()
    reasons = {str(error.reason) for error in ClipError.__subclasses__()}
    assert "corrupt" in reasons
    for reason in reasons - {"unwritable"}:  # that one is of `accompany`, which writes sounds
        assert f"`{reason}`" in page, reason


@pytest.mark.parametrize("command", SINGSONG, ids=str)
def test_every_command_has_the_flags_that_the_page_gives_it(
    command: Snippet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags are parsed before anything is read: what fails is the music that is not there."""
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setitem(file_systems, "gs", MemoryFileSystem)  # buckets are empty
    monkeypatch.chdir("/")
    text = re.sub(r"\b(gs|s3)://", "memory://", command.text)  # nothing is asked of a real store
    text = text.replace("/usr/share/games/", "/nowhere/")
    if "demo-songs" in text:
        text += " --songs 0"
    if "singsong models" in text and "list" not in text:
        text += " --separator nobodys"  # or models would be downloaded
    words = shlex.split(text)
    code = 0 if "models list" in text else 1
    assert cli.main(words[words.index("singsong") + 1 :]) == code
    assert "usage" not in capsys.readouterr().err


@pytest.mark.parametrize("command", SINGSONG, ids=str)
def test_a_misspelt_flag_in_a_page_would_be_noticed(
    command: Snippet, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command.text)
    words = words[words.index("singsong") + 1 :]
    end = words.index("--") if "--" in words else len(words)
    try:
        code = cli.main([*words[:end], "--no-such-flag"])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    assert "--no-such-flag" in capsys.readouterr().err


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    texts = [re.sub(r"^\w+=\S+ ", "", one.text) for one in COMMANDS]
    targets = {
        word
        for text in texts
        if text.startswith("make ")
        for word in text.split()[1:]
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert {"demo", "image", "bench"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_benchmark_is_there() -> None:
    text = "\n".join(path.read_text() for path in PAGES)
    modules = set(re.findall(r"python -m (benchmarks\.\w+)", text))
    assert modules
    for module in modules:
        assert importlib.util.find_spec(module), module


def test_every_file_that_a_page_names_is_there() -> None:
    folders = "schemas|models|tests|transforms|benchmarks|examples|dataset|training|commands"
    for path in PAGES:
        text = path.read_text()
        for name in re.findall(rf"`((?:{folders}|pipelines|docs)/[\w./]*\w)`", text):
            assert (ROOT / name).exists() or name in _BY_USERS, f"{path}: {name}"
        for name in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text):
            assert (path.parent / name).exists(), f"{path}: {name}"
        for name in re.findall(r'--8<-- "([^"]+)"', text):
            assert (ROOT / name).exists(), f"{path}: {name}"


_BY_USERS = {"dataset/manifest.json", "dataset/parts"}
# What stands for a value in a message: names, numbers, places, and what a page leaves out.
_VALUES = re.compile(
    r"\.\.\.|gs://[^\s:;,]+|'[^']*'|\[[^]]*\]|/home\S+|nvidia-\w+|\S*\d\S*|\S*-EAST\S*"
    r"|--device cuda|--machine[-_]type|none|separator|holds singsong|Python|org\.singsong\.version"
)


def test_messages_in_troubleshooting_are_those_of_the_code() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text()
    _, _, table = text.partition("## Before a Dataflow job")
    table, _, _ = table.partition("## Spark")
    messages = re.findall(r"^\| .* \| `(.*)` \|$", table, re.MULTILINE)
    assert len(messages) > 10
    paths = [path for room in ("runners", "transforms") for path in (ROOT / room).glob("*.py")]
    source = "".join(path.read_text() for path in paths)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # strings that go on in the next line
    for message in messages:
        pieces = [piece.strip(" :;,.`") for piece in _VALUES.split(message)]
        long = [piece for piece in pieces if len(piece) > 12]
        assert long, message
        for piece in long:
            assert piece in source, f"{message!r}: no message says {piece!r}"


@pytest.fixture
def workplace(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the blocks of Python read."""
    (tmp_path / "demo").mkdir()
    for name in ("dataset", "demo/dataset"):
        (tmp_path / name).symlink_to(tiny_dataset)
    licences = {
        2: "http://creativecommons.org/licenses/by/4.0/",
        3: "http://creativecommons.org/licenses/by-nc-sa/3.0/",
        4: "http://creativecommons.org/publicdomain/zero/1.0/",
    }
    for folder in ("fma_metadata", "fma_full/000", "data", "audio/14"):
        (tmp_path / folder).mkdir(parents=True)
    rows = [f"{number},{url}" for number, url in licences.items()]
    (tmp_path / "fma_metadata/raw_tracks.csv").write_text(
        "\n".join(["track_id,license_url", *rows])
    )
    for number in licences:
        (tmp_path / f"fma_full/000/{number:06d}.mp3").touch()
    (tmp_path / "data/raw_30s.tsv").write_text(
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
        "track_0000214\ta\tb\t14/214.mp3\t124.6\tgenre---pop\tinstrument---voice\n"
        "track_0000215\ta\tb\t14/215.mp3\t124.6\tgenre---pop\n"
    )
    for name in ("14/214.mp3", "14/215.mp3"):
        (tmp_path / "audio" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("block", python_blocks(), ids=str)
@pytest.mark.usefixtures("workplace")
def test_every_block_of_python_runs(block: Snippet, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    if "files selected" in block.text:
        selected = sorted(path.name for path in Path("selected").iterdir())
        assert selected in (["000002.mp3", "000004.mp3"], ["214.mp3"])
        assert printed == f"{len(selected)} files selected\n"
    elif "print(" in block.text:
        assert printed.strip()


def test_the_command_reference_holds_every_flag_of_every_command() -> None:
    """What `--help` prints, and nothing else, is in the page."""
    page = cli_reference.on_page_markdown(f"# A\n{cli_reference.MARKER}")
    flags = set()
    for name, command in cli.COMMANDS.items():
        assert f"\n## singsong {name}\n" in page
        flags |= set(_flags(command.parser()))
    in_page = set(re.findall(r"(?<=[|,] )`(--[a-z-]+)", page))
    assert flags == in_page
    assert "| `--clip-seconds X` | `10.0` |" in page
    assert "| `--noise-seed N` | `0` |" in page


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += _flags(sub)
        found += [flag for flag in action.option_strings if flag not in ("-h", "--help")]
    return found
