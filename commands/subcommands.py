"""The subcommands of a command: one way to add them, whatever they are called."""

from __future__ import annotations

import argparse
from collections.abc import Mapping


def add_subcommands(
    parser: argparse.ArgumentParser, texts: Mapping[str, str], *, dest: str
) -> dict[str, argparse.ArgumentParser]:
    """Adds subcommands, of which a user has to choose one, and returns their parsers by name.

    Args:
        parser: That of the command.
        texts: Name of each subcommand to what it does, in a line.
        dest: Under which name the arguments hold the choice.
    """
    actions = parser.add_subparsers(dest=dest, required=True, metavar=dest.upper())
    return {
        name: actions.add_parser(
            name,
            help=text,
            description=text,
            allow_abbrev=False,
            formatter_class=parser.formatter_class,
        )
        for name, text in texts.items()
    }
