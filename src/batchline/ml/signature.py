"""What a model takes and gives. Pure: the API checks rows with it and never loads a model."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, islice
from math import inf
from typing import Any, Self

from batchline.constants import MAX_REPORTED_FAULTS, MAX_ROWS_PER_ITEM
from batchline.errors import Fault

FLOAT32_LIMIT = 3.4028235677973366e38
"""The smallest float that rounds to infinity as a float32."""

FLOAT64_LIMIT = 2**1024 - 2**970
"""The same for a float64; an integer, because a longer one that JSON may hold is no float."""

RANGES: dict[str, tuple[float, float]] = {
    "float32": (-FLOAT32_LIMIT, FLOAT32_LIMIT),
    "float64": (-FLOAT64_LIMIT, FLOAT64_LIMIT),
    "int32": (-(2**31) - 1, 2**31),
    "int64": (-(2**63) - 1, 2**63),
}
"""The dtypes that a row may have, with the numbers between which (exclusive) a value lies."""

NUMBERS: dict[str, set[type]] = {
    "float32": {float, int},
    "float64": {float, int},
    "int32": {int},
    "int64": {int},
}


@dataclass(frozen=True, slots=True)
class Signature:
    """One input: rows of the shape `shape` (without the batch axis) and the type `dtype`.

    `labels` are the class names, in the order of their index, where the model is a classifier.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    labels: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        labels = stored["labels"]
        return cls(
            name=stored["name"],
            dtype=stored["dtype"],
            shape=tuple(stored["shape"]),
            labels=None if labels is None else tuple(labels),
        )

    def faults(self, data: object) -> list[Fault]:
        """What is wrong with the rows of one item, as JSON pointers into `data`; [] if nothing.

        At most `MAX_REPORTED_FAULTS` are listed: a caller who mends those may meet more.
        """
        if type(data) is not list:
            return [Fault("", "wrong_shape", f"expected a list of rows, got {_kind(data)}")]
        if not data:
            return [Fault("", "no_rows", "expected at least one row, got none")]
        if len(data) > MAX_ROWS_PER_ITEM:
            detail = f"one item takes at most {MAX_ROWS_PER_ITEM} rows, got {len(data)}"
            return [Fault("", "too_many_rows", detail)]
        if self.values([data]) is not None:
            return []
        return list(islice(self._faults_of_rows(data), MAX_REPORTED_FAULTS))

    def values(self, items: Sequence[Any]) -> list[Any] | None:
        """All numbers of these items in one flat list; None where any item may have a fault.

        It looks at whole lists at a time, which is quick, because nearly all items are all right.
        """
        if set(map(type, items)) != {list}:
            return None
        if not (min(map(len, items)) > 0 and max(map(len, items)) <= MAX_ROWS_PER_ITEM):
            return None
        level = list(chain.from_iterable(items))
        for size in self.shape:
            if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
                return None
            level = list(chain.from_iterable(level))
        if not NUMBERS[self.dtype].issuperset(map(type, level)):
            return None
        low, high = RANGES[self.dtype]
        if not (low < min(level) and max(level) < high):
            return None
        total = sum(level)  # NaN hides from min and max, but not from a sum
        return level if total == total else None

    def _faults_of_rows(self, rows: list[Any]) -> Iterator[Fault]:
        for place, row in enumerate(rows):
            yield from self._faults_of(row, self.shape, f"/{place}")

    def _faults_of(self, value: object, shape: tuple[int, ...], pointer: str) -> Iterator[Fault]:
        if not shape:
            yield from self._faults_of_number(value, pointer)
        elif type(value) is not list:
            expected = f"expected a list of {_numbers(shape[0])}"
            yield Fault(pointer, "wrong_shape", f"{expected}, got {_kind(value)}")
        elif len(value) != shape[0]:
            detail = f"the model takes {_numbers(shape[0])} here, got {len(value)}"
            yield Fault(pointer, "wrong_width", detail)
        else:
            for place, part in enumerate(value):
                yield from self._faults_of(part, shape[1:], f"{pointer}/{place}")

    def _faults_of_number(self, value: Any, pointer: str) -> Iterator[Fault]:
        low, high = RANGES[self.dtype]
        if type(value) is list:
            yield Fault(pointer, "nested_too_deep", "expected a number, got a list")
        elif type(value) not in (int, float):
            yield Fault(pointer, "not_a_number", f"expected a number, got {_kind(value)}")
        elif value != value or value in (inf, -inf):
            yield Fault(pointer, "not_finite", "NaN and infinity are no values to predict from")
        elif type(value) not in NUMBERS[self.dtype]:
            yield Fault(pointer, "not_an_integer", f"the model takes integers here, got {value}")
        elif not low < value < high:
            yield Fault(
                pointer, "out_of_range", f"{str(value)[:20]} does not fit into {self.dtype}"
            )


def _numbers(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def _kind(value: object) -> str:
    """The JSON name of a value, with a glimpse of it where that helps."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else f"the number {value}"
