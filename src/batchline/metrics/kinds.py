"""The kinds of metrics. Each counts in the numbers of this process."""

import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from batchline.metrics.numbers import SEPARATOR, Key, Numbers

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Seconds, from a registration on SQLite to the longest call of a model by default."""


class _Process:
    """The numbers that this process writes."""

    numbers: Numbers | None = None


def own() -> Numbers:
    """Return the numbers that this process writes."""
    if _Process.numbers is None:
        _Process.numbers = Numbers()
    return _Process.numbers


def write_to(numbers: Numbers | None) -> None:
    """Count in these numbers from now on, or in new ones."""
    _Process.numbers = numbers


os.register_at_fork(after_in_child=lambda: write_to(None))  # the numbers have one writer


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts events, by the values of its labels. The caller keeps the values few.

    Args:
        known: values of the only label that are shown before they are counted. Without them,
            Prometheus could not tell that the first event is new.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()

    def add(self, *values: str, count: float = 1) -> None:
        """Count events. A count of 0 makes these values known."""
        own().add(SEPARATOR.join((self.name, *values)), count)


class Histogram:
    """Counts durations by their size.

    `buckets` are the keys of the counts: of durations up to each of `BOUNDS` that are above the one
    before, and of the longer ones. `sum` is the key of the sum.
    """

    labels = ()

    def __init__(self, name: str, help: str) -> None:
        self.name = name
        self.help = help
        self.sum: Key = (name, "sum")
        self.buckets: Sequence[Key] = [(name, str(n)) for n in range(len(BOUNDS) + 1)]
        self._buckets = [SEPARATOR.join(key) for key in self.buckets]
        self._sum = SEPARATOR.join(self.sum)

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        numbers = _Process.numbers or own()
        numbers.add(self._buckets[bisect_left(BOUNDS, seconds)], 1.0, self._sum, seconds)

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Count how long the block takes, unless it fails."""
        began = time.perf_counter()
        yield
        self.observe(time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A state that is read when Prometheus asks for it."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
