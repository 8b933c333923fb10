"""The `singsong` command: one subcommand a job."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence

from singsong.dataset.manifest import DatasetError
from singsong.runners.errors import JobFailedError

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("commands.demo", "try it all on a small corpus, in a folder `demo`"),
    "prepare": ("pipelines.prepare", "turn music into a versioned dataset of codes"),
    "retry": ("pipelines.retry", "run the failed inputs of a dataset again"),
    "dataset": ("commands.dataset", "show, verify or preview a dataset"),
    "listen": ("commands.listen", "make a page to hear what the codes of a dataset hold"),
    "fit": (
        "pipelines.fit",
        "fit the codebooks of the lite models, or of a semantic encoder",
    ),
    "train": ("commands.train", "train a model on a dataset"),
    "accompany": ("pipelines.accompany", "accompany a singer by a checkpoint"),
    "demo-songs": (
        "commands.demo_songs",
        "synthesise songs with known stems, key and tempo",
    ),
    "calibrate-rms": (
        "commands.calibrate_rms",
        "count MUSDB18 clips for a grid of windows",
    ),
}
_FAILED_EXIT_CODE = 1
_USAGE_EXIT_CODE = 2


def usage() -> str:
    """Returns the help text."""
    lines = ["usage: singsong [--debug] COMMAND ...", ""]
    lines += [f"  {name:<15}{text}" for name, (_, text) in _COMMANDS.items()]
    return "\n".join([*lines, "", "`singsong COMMAND --help` says more; --debug shows tracebacks."])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a subcommand and returns its exit code; an error is one sentence on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = arguments[:1] == ["--debug"]
    command, *rest = arguments[debug:] or [""]
    if command in ("-h", "--help"):
        print(usage())
        return 0
    if command not in _COMMANDS:
        complaint = f"no command {command!r}" if command else "which command?"
        print(f"singsong: {complaint}\n\n{usage()}", file=sys.stderr)
        return _USAGE_EXIT_CODE
    logging.basicConfig(level=logging.DEBUG if debug else logging.ERROR)
    if not debug:
        for library in ("apache_beam", "gcsfs"):
            logging.getLogger(library).setLevel(logging.CRITICAL)  # the error says it in a line
    job: Callable[[Sequence[str]], int] = _main_of(command)
    return job(rest) if debug else _told_in_one_sentence(command, job, rest)


def _main_of(command: str) -> Callable[[Sequence[str]], int]:
    main: Callable[[Sequence[str]], int] = importlib.import_module(
        f"singsong.{_COMMANDS[command][0]}"
    ).main
    return main


def _told_in_one_sentence(
    command: str, job: Callable[[Sequence[str]], int], arguments: Sequence[str]
) -> int:
    try:
        return job(arguments)
    except (ValueError, OSError, DatasetError, JobFailedError) as error:
        print(f"singsong {command}: {error}", file=sys.stderr)
        return _FAILED_EXIT_CODE
