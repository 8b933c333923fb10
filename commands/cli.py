"""The `singsong` command: one subcommand a job.

Each command is a module with a docstring (its help), `add_arguments` and `run`. Only the module of
the given command is imported, and that imports heavy libraries only after its cheap checks.
"""

from __future__ import annotations

import argparse
import importlib
import io
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol, cast

from singsong.runners.errors import JobFailedError
from singsong.runners.exit_codes import ExitCode
from singsong.schemas.errors import SingsongError
from singsong.schemas.extras import extra_needed
from singsong.schemas.text import printable


class CommandModule(Protocol):
    """What the module of a command has."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the arguments of the command."""

    def run(self, args: argparse.Namespace) -> int:
        """Runs the command and returns its exit code."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A subcommand.

    Attributes:
        name: How it is called.
        help: What it does, in one line.
        module: Where it is, below `singsong`.
    """

    name: str
    help: str
    module: str

    def load(self) -> CommandModule:
        """Returns its module."""
        return cast(CommandModule, importlib.import_module(f"singsong.{self.module}"))

    def parser(self) -> argparse.ArgumentParser:
        """Returns its parser."""
        module = self.load()
        parser = _Parser(
            prog=f"singsong {self.name}",
            description=module.__doc__,
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )
        module.add_arguments(parser)
        return parser

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Returns the parsed arguments; a job also takes flags for Beam, after `--`."""
        parser = self.parser()
        own = list(arguments)
        for_beam: list[str] = []
        if parser.get_default("beam_args") is not None and "--" in own:
            end = own.index("--")
            own, for_beam = own[:end], own[end + 1 :]
        args = parser.parse_args(own)
        if for_beam:
            args.beam_args = for_beam
        return args


class _Parser(argparse.ArgumentParser):
    """Prints no raw control characters of what was typed."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of descriptions, and adds the default to the help of each flag."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if not action.help or not action.option_strings or action.nargs == 0:
            return action.help
        if (
            default is None
            or default is argparse.SUPPRESS
            or isinstance(default, bool | list | tuple)
        ):
            return action.help
        return f"{action.help} (default: %(default)s)"


COMMANDS: Mapping[str, Command] = {
    name: Command(name=name, help=text, module=module)
    for name, module, text in (
        ("demo", "commands.demo", "try everything on a small corpus, in the folder `demo`"),
        ("prepare", "pipelines.prepare", "turn music into a versioned dataset of codes"),
        ("retry", "pipelines.retry", "run the failed inputs of a dataset again"),
        ("dataset", "commands.dataset", "show, verify or preview a dataset"),
        ("models", "commands.models", "list, fetch, check or time models"),
        ("listen", "commands.listen", "make a page to hear the codes of a dataset"),
        ("fit", "pipelines.fit", "fit the codebooks of the lite models or of a semantic encoder"),
        ("train", "commands.train", "train a model on a dataset"),
        ("accompany", "pipelines.accompany", "accompany a singer with a trained model"),
        (
            "demo-songs",
            "commands.demo_songs",
            "synthesise songs with known stems, key and tempo",
        ),
        (
            "calibrate-rms",
            "commands.calibrate_rms",
            "count MUSDB18 clips for a grid of loudness windows",
        ),
    )
}


def usage() -> str:
    """Returns the help text."""
    lines = ["usage: singsong [--help] [--version] [--debug] COMMAND ...", "", "commands:"]
    lines += [f"  {command.name:<15}{command.help}" for command in COMMANDS.values()]
    return "\n".join(
        [
            *lines,
            "",
            "`singsong COMMAND --help` explains a command and its flags.",
            "--debug prints log messages, and a traceback for each error.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns its exit code; an error is one sentence on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that it cannot encode ends no command
            stream.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = arguments[:1] == ["--debug"]
    name, *rest = arguments[debug:] or [""]
    if name in ("-h", "--help"):
        print(usage())
        return ExitCode.DONE
    if name == "--version":
        print(f"singsong {_version()}")
        return ExitCode.DONE
    if name not in COMMANDS:
        complaint = f"no command {name!r}" if name else "which command?"
        print(f"singsong: {complaint}\n\n{usage()}", file=sys.stderr)
        return ExitCode.USAGE
    _set_up_logging(debug=debug)
    return run(COMMANDS[name], rest, debug=debug)


def run(command: Command, arguments: Sequence[str], *, debug: bool = False) -> int:
    """Runs a command and returns its exit code.

    Args:
        command: Which.
        arguments: Its arguments.
        debug: Whether an error propagates instead of becoming one sentence on stderr.

    Raises:
        SystemExit: The arguments are wrong, or ask for help.
    """
    args = command.parse(arguments)
    try:
        with extra_needed("train" if command.name == "train" else "prepare", by="this command"):
            return command.load().run(args)
    except KeyboardInterrupt:
        print(f"singsong {command.name}: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except (ValueError, OSError, SingsongError, MemoryError, RuntimeError) as error:
        if debug or not _is_told_in_a_line(error):
            raise
        return _complain(command, error)


def _is_told_in_a_line(error: Exception) -> bool:
    from singsong.storage import is_machine_trouble  # which the command alone does not need

    return isinstance(error, ValueError | OSError | SingsongError) or is_machine_trouble(error)


def _complain(command: Command, error: Exception) -> int:
    """Prints an error in one line and returns the exit code."""
    from singsong.storage import with_advice

    text = str(error) or type(error).__name__
    if not isinstance(error, JobFailedError):  # which has its advice
        text = with_advice(text)
    print(f"singsong {command.name}: {printable(text)}", file=sys.stderr)
    return error.exit_code if isinstance(error, JobFailedError) else ExitCode.FAILED


def _set_up_logging(*, debug: bool) -> None:
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR)
    if not debug:
        for library in ("apache_beam", "gcsfs"):  # the command prints their errors in one line
            logging.getLogger(library).setLevel(logging.CRITICAL)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("singsong")
    except PackageNotFoundError:
        return "from source"
