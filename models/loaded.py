"""The models that this process has loaded: one table, whatever loads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Model = TypeVar("Model")

_LOADED: dict[Hashable, Any] = {}
# Held while a model loads: threads that want the same one must not load it twice, and loading two
# at once gains nothing. Reentrant, because what is loaded may consist of models in this table.
_LOCK = threading.RLock()


def load_once(key: Hashable, load: Callable[[], Model]) -> Model:
    """Returns what `load` returned at the first call with this key in this process.

    Args:
        key: What tells the model from all others: its kind, name, device and options.
        load: Loads it. What it raises passes, and the next call tries again.

    >>> load_once(("example", "cpu"), lambda: [1]) is load_once(("example", "cpu"), lambda: [2])
    True
    """
    with _LOCK:
        if key not in _LOADED:
            _LOADED[key] = load()
        return _LOADED[key]
