"""Writes the command-line reference from the parsers themselves, whenever the site is built.

A page that holds `<!-- cli-reference -->` gets a section for each command: its description and a
table of its flags. The flags of the runners, which several commands share, are listed once.
"""

import argparse
import pathlib
import re
from collections.abc import Iterator

from singsong.commands.cli import COMMANDS

MARKER = "<!-- cli-reference -->"
_RUNNER_GROUP = "--runner "
_PLACEHOLDERS: dict[object, str] = {int: "N", float: "X", pathlib.Path: "PATH"}


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replaces the marker of a page by the reference."""
    return markdown.replace(MARKER, reference()) if MARKER in markdown else markdown


def reference() -> str:
    """Returns the Markdown of all commands."""
    parsers = [command.parser() for command in COMMANDS.values()]
    sections = [line for parser in parsers for line in _command(parser, level=2)]
    runners = next(parser for parser in parsers if _runner_groups(parser))
    sections += ["## Runner flags", ""]
    sections += ["`prepare`, `retry`, `fit` and `accompany` run on any of these.", ""]
    for group in _runner_groups(runners):
        sections += [f"### `{group.title}`", "", *_table(group._group_actions)]
    return "\n".join(sections)


def _command(parser: argparse.ArgumentParser, *, level: int, text: str = "") -> Iterator[str]:
    described = _described(parser.description or text)
    yield from (f"{'#' * level} {parser.prog}", "", described, "")
    runner_actions = {id(a) for group in _runner_groups(parser) for a in group._group_actions}
    actions = [
        action
        for action in parser._actions
        if id(action) not in runner_actions
        and not isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    ]
    yield from _table(actions)
    if runner_actions:
        yield from ("and the [runner flags](#runner-flags); what follows `--` goes to Beam.", "")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield from _command(sub, level=level + 1, text=_sentence(helps.get(name, "")))


def _runner_groups(parser: argparse.ArgumentParser) -> list[argparse._ArgumentGroup]:
    return [g for g in parser._action_groups if (g.title or "").startswith(_RUNNER_GROUP)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _described(text: str) -> str:
    """Turns a module's docstring into Markdown: indented commands become blocks of their own."""
    return re.sub(
        r"(?:^ {4}.*\n?)+",
        lambda found: f"```text\n{re.sub('^    ', '', found[0].rstrip(), flags=re.M)}\n```\n",
        text,
        flags=re.MULTILINE,
    )


def _table(actions: list[argparse.Action]) -> Iterator[str]:
    if not actions:
        return
    yield from ("| flag | default | meaning |", "|---|---|---|")
    for action in actions:
        yield f"| {_flag(action)} | {_default(action)} | {_escaped(_help(action))} |"
    yield ""


def _flag(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    takes_none = action.nargs == 0 or action.choices
    metavar = str(action.metavar or _PLACEHOLDERS.get(action.type, "VALUE"))
    if metavar.startswith("NAME[:SOURCE]"):
        metavar = "SPEC"  # the guide to models explains it; the table stays narrow
    values = "" if takes_none else f" {metavar}"
    return ", ".join(f"`{_escaped(flag + values)}`" for flag in action.option_strings)


def _default(action: argparse.Action) -> str:
    if action.required and action.option_strings:
        return "required"
    unset = action.default is None or action.default == argparse.SUPPRESS or action.nargs == 0
    if unset or not action.option_strings:
        return ""
    if action.dest == "splits":
        return ", ".join(f"`{name}={weight}`" for name, weight in action.default)
    if isinstance(action.default, tuple):
        return ", ".join(f"`{value}`" for value in action.default)
    return f"`{action.default}`"


def _help(action: argparse.Action) -> str:
    text = action.help or ""
    if action.choices:
        text += ("; " if text else "") + "one of " + ", ".join(f"`{c}`" for c in action.choices)
    return text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("%%", "%")
