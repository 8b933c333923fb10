"""Shows the `>>>` examples of docstrings as code; without a title, they pass for quotations."""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"(?:^ *>>> .*\n(?:^ *\S.*\n?)*)(?:\n(?:^ *>>> .*\n(?:^ *\S.*\n?)*))*", re.M)


class DoctestFences(griffe.Extension):
    """Puts a fence around each example."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Changes the docstring of an object that was collected."""
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)


def fenced(text: str) -> str:
    """Returns a docstring with a fence around each block that begins with `>>>`."""
    return _EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```", text + "\n").rstrip()
