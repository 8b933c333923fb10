"""The command line answers at once, and ends in the same way whatever it runs."""

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singsong.commands import cli
from singsong.pipelines import accompany, fit, prepare
from singsong.runners.errors import JobFailedError
from singsong.runners.exit_codes import ExitCode

HEAVY = {
    *("apache_beam", "demucs", "grpc", "librosa", "numpy", "pandas", "pyarrow"),
    *("requests", "scipy", "soundfile", "soxr", "tensorboard", "torch", "transformers"),
}
# Arguments that are wrong, and arguments whose input does not exist.
WRONG = {
    "demo": (["--stepps", "1"], ["--music", "missing"]),
    "prepare": (["missing"], ["missing", "--output", "out"]),
    "retry": ([], ["missing"]),
    "dataset": (["shew", "missing"], ["show", "missing"]),
    "models": (["lisst"], ["check", "--acoustic", "missing"]),
    "listen": (["missing"], ["missing", "--output", "page"]),
    "fit": (["noise", "missing"], ["acoustic", "missing", "--output", "a.safetensors"]),
    "train": (["accompaniment"], ["accompaniment", "--data", "missing", "--output", "run"]),
    "accompany": (["v.wav"], ["v.wav", "--checkpoint", "run", "--output", "mix.wav"]),
    "demo-songs": (["--songs", "many", "--output", "x"], ["--output", "file/songs"]),
    "calibrate-rms": ([], ["missing"]),
}
# A wrong place for the output, where all inputs are there.
OUTPUTS = {
    "prepare": ["v.wav", "--output", "file/dataset"],
    "models": ["fetch", "--to", "file/offline"],
    "listen": ["dataset", "--output", "file/page"],
    "fit": ["acoustic", "v.wav", "--output", "folder"],
    "train": ["fine", "--data", "dataset", "--output", "file/run"],
    "accompany": ["v.wav", "--checkpoint", "folder", "--output", "file/mix.wav"],
    "demo-songs": ["--output", "file"],
    "demo": ["--music", "v.wav", "--folder", "file/demo"],
}
ASK = """
import contextlib, io, json, sys
from singsong.commands import cli
code, printed = None, io.StringIO()
with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    try:
        code = cli.main(sys.argv[1:])
    except SystemExit as stop:
        code = stop.code
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"code": code, "printed": printed.getvalue(), "loaded": loaded}))
"""


def ask(folder: Path, *arguments: str) -> tuple[int, str, set[str]]:
    """Returns exit code, output and loaded libraries of the command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    return answer["code"], answer["printed"], set(answer["loaded"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("a file where a folder should be")
    (tmp_path / "folder").mkdir()
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "manifest.json").write_text("{}")
    return tmp_path


def test_every_command_is_asked() -> None:
    assert set(WRONG) == set(cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_loads_nothing_heavy_and_has_an_example(command: str, place: Path) -> None:
    code, printed, loaded = ask(place, command, "--help")
    assert code == 0
    assert f"usage: singsong {command}" in printed
    assert f"\nsingsong {command}" in printed.replace("    ", "")
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_usage_error_loads_nothing_heavy(command: str, place: Path) -> None:
    wrong = WRONG[command][0] or ["--no-such-flag"]
    code, printed, loaded = ask(place, command, *wrong)
    assert code == ExitCode.USAGE
    assert f"singsong {command}" in printed
    assert "error: " in printed
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_missing_input_loads_nothing_heavy(command: str, place: Path) -> None:
    code, printed, loaded = ask(place, command, *WRONG[command][1])
    assert code == ExitCode.FAILED
    assert printed.startswith(f"singsong {command}: ")
    assert printed.count("\n") == 1
    assert not loaded & HEAVY


@pytest.mark.parametrize("command", OUTPUTS)
def test_the_output_is_refused_before_anything_heavy_is_loaded(command: str, place: Path) -> None:
    (place / "v.wav").write_bytes(b"RIFF")
    before = sorted(place.rglob("*"))
    code, printed, loaded = ask(place, command, *OUTPUTS[command])
    assert code == ExitCode.FAILED
    assert " file" in printed
    assert printed.count("\n") == 1
    assert not loaded & HEAVY
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["prepair"], []])
def test_the_command_itself_loads_nothing_heavy(arguments: list[str], place: Path) -> None:
    code, printed, loaded = ask(place, *arguments)
    assert code == (0 if arguments and arguments[0].startswith("-") else ExitCode.USAGE)
    assert "singsong" in printed
    assert not loaded & {*HEAVY, "fsspec"}


def test_the_package_itself_loads_almost_nothing() -> None:
    code = "import sys; import singsong; print(sorted({*sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {name.strip("[]',") for name in done.stdout.split()} & {*HEAVY, "argparse"}


class StubModule:
    """Adds two: the second number is optional."""

    def __init__(self, outcome: Exception | KeyboardInterrupt | int) -> None:
        self.outcome = outcome
        self.seen: list[Namespace] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("first", nargs="*")
        parser.add_argument("--second", type=int, default=2, help="the other number")
        parser.set_defaults(beam_args=())

    def run(self, args: Namespace) -> int:
        self.seen.append(args)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch):
    def make(outcome) -> StubModule:
        module = StubModule(outcome)
        monkeypatch.setattr(cli.Command, "load", lambda command: module)
        return module

    return make


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (0, 0, ""),
        (3, 3, ""),
        (ValueError("a rule"), 1, "singsong fit: a rule\n"),
        (OSError("no space"), 1, "singsong fit: no space\n"),
        (JobFailedError("a step"), 1, "singsong fit: a step\n"),
        (KeyboardInterrupt(), 130, "singsong fit: interrupted\n"),
    ],
)
def test_each_way_to_end_has_a_code_and_one_sentence(stub, capsys, outcome, code, message) -> None:
    stub(outcome)
    assert cli.main(["fit"]) == code
    assert capsys.readouterr().err == message


def test_bugs_and_debugging_show_tracebacks(stub) -> None:
    stub(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["fit"])
    stub(ValueError("a rule"))
    with pytest.raises(ValueError, match="a rule"):
        cli.main(["--debug", "fit"])


def test_what_follows_two_dashes_is_beams_and_strict_before(stub, capsys) -> None:
    module = stub(0)
    assert cli.main(["fit", "a", "--", "--beam_flag=1", "b"]) == 0
    (args,) = module.seen
    assert (args.first, args.beam_args) == (["a"], ["--beam_flag=1", "b"])
    with pytest.raises(SystemExit):
        cli.main(["fit", "--sec", "1"])
    assert "unrecognized arguments: --sec" in capsys.readouterr().err


def test_help_shows_defaults(stub, capsys) -> None:
    stub(0)
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    assert "the other number (default: 2)" in capsys.readouterr().out


def test_the_module_is_the_command(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "singsong", "dataset", "show", "missing"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.FAILED
    assert done.stderr.startswith("singsong dataset: missing/manifest.json does not exist")


def test_what_a_format_cannot_hold_is_refused_before_models_are_loaded(place: Path) -> None:
    soundfile.write(place / "v.wav", np.zeros((960, 1)), 96000)
    code, printed, loaded = ask(
        place, "accompany", "v.wav", "--checkpoint", "folder", "--output", "mix.mp3"
    )
    assert code == ExitCode.FAILED
    assert "v.wav: an mp3 holds one or two channels at" in printed
    assert not loaded & {"apache_beam", "torch", "transformers"}


@pytest.mark.parametrize(
    ("flags", "device"),
    [
        ([], "cpu"),
        (["--gpu", "nvidia-l4"], "cuda"),
        (["--device", "cuda"], "cuda"),
        (["--gpu", "nvidia-l4", "--device", "cpu"], "cpu"),
    ],
)
def test_a_gpu_implies_cuda_in_every_job(flags: list[str], device: str) -> None:
    dataflow = ["--runner", "dataflow", "--project", "my-project", "--region", "us-central1"]
    where = [*dataflow, "--temp", "gs://near/temp", "--image", "localhost/x:1", *flags]
    output = ["gs://near/music", "--output", "gs://near/out"]
    args = cli.COMMANDS["prepare"].parse([*output, *where])
    assert prepare.config_from(args).recipe.encode.device == device
    args = cli.COMMANDS["fit"].parse(["acoustic", *output, *where])
    assert fit.config_from(args, "gs://near/scratch").fit.device == device
    args = cli.COMMANDS["accompany"].parse([*output, "--checkpoint", "gs://near/run", *where])
    assert accompany.config_from(args).accompany.device == device
