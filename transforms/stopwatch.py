"""Seconds spent by the name of what they were spent on."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stopwatch:
    """Adds up wall seconds under names.

    Attributes:
        seconds: What was measured so far, by name.

    >>> watch = Stopwatch()
    >>> with watch("sleep"):
    ...     time.sleep(0.001)
    >>> watch.seconds["sleep"] > 0
    True
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds the time inside the `with` block to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def iterate(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the items and adds the time it takes to get each of them to `name`."""
        iterator = iter(items)
        while True:
            with self(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item
