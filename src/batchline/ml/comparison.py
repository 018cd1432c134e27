"""Compare the predictions of two versions. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any

import orjson

MOST_CHANGED = 5


@dataclass(slots=True)
class Comparison:
    """The result of comparing some items so far.

    `changed` counts items with another top label or another string. `numbers` counts the numbers
    that were compared, and `total` is the sum of their differences.
    """

    items: int = 0
    changed: int = 0
    numbers: int = 0
    total: float = 0.0
    largest: float = 0.0
    most_changed: list[tuple[float, int]] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Return the mean difference of a number."""
        return self.total / self.numbers if self.numbers else 0.0

    def add(self, item_id: int, one: str, other: str, other_label: bool | None = None) -> None:
        """Compare two predictions of an item, given as JSON texts.

        Args:
            other_label: whether their labels differ, or None if they have no labels.
        """
        first, second = orjson.loads(one), orjson.loads(other)
        self.items += 1
        self.changed += _has_changed(first, second) if other_label is None else bool(other_label)
        apart = 0.0
        for a, b in _numbers(first, second):
            self.numbers += 1
            self.total += abs(a - b)
            apart = max(apart, abs(a - b))
        self.largest = max(self.largest, apart)
        entry = apart, item_id
        if len(self.most_changed) < MOST_CHANGED:
            heappush(self.most_changed, entry)
        else:
            heappushpop(self.most_changed, entry)


def _has_changed(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return any(_has_changed(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        if _is_classified(one) and _is_classified(other):
            return bool(max(one, key=one.__getitem__) != max(other, key=other.__getitem__))
        return one.keys() != other.keys() or any(_has_changed(one[key], other[key]) for key in one)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return False
    return bool(one != other)


def _is_classified(prediction: dict[str, Any]) -> bool:
    """Whether it looks like label → probability."""
    return len(prediction) > 1 and all(isinstance(value, float) for value in prediction.values())


def _numbers(one: Any, other: Any) -> Iterator[tuple[float, float]]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() & other.keys():
            yield from _numbers(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        for a, b in zip(one, other, strict=False):
            yield from _numbers(a, b)
    elif isinstance(one, int | float) and isinstance(other, int | float):
        yield one, other
