"""One input of a model: which values it accepts, and what is wrong with others. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import Any, Self

from batchline.constants import MAX_ROWS_PER_ITEM
from batchline.errors import Fault

Dims = tuple[int, ...]

FLOAT16_LIMIT = 65520
"""The smallest number that rounds to infinity as a float16."""

FLOAT32_LIMIT = 3.4028235677973366e38
"""The same for a float32."""

FLOAT64_LIMIT = 2**1024 - 2**970
"""The same for a float64. It is an integer, since JSON may hold integers that no float can."""

FLOATS = {"float16": FLOAT16_LIMIT, "float32": FLOAT32_LIMIT, "float64": FLOAT64_LIMIT}
INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}

TYPES: dict[str, set[type]] = {
    **{dtype: {float, int} for dtype in FLOATS},
    **{dtype: {int} for dtype in INTEGERS},
    "bool": {bool},
    "str": {str},
}
"""The dtypes that an input may have, with the Python types of valid JSON values."""


def _range(dtype: str) -> tuple[float, float]:
    if dtype in FLOATS:
        return -FLOATS[dtype], FLOATS[dtype]
    bits = int(dtype.lstrip("uint"))
    if dtype.startswith("u"):
        return -1, 2**bits
    return -(2 ** (bits - 1)) - 1, 2 ** (bits - 1)


RANGES = {dtype: _range(dtype) for dtype in (*FLOATS, *INTEGERS)}
"""The numbers between which a value must lie, both excluded."""

WHAT = {"bool": ("true or false", "not_a_bool"), "str": ("a string", "not_a_text")}


@dataclass(frozen=True, slots=True)
class Input:
    """One input, of numpy's type `dtype` ("str" for strings).

    `shape` is that of one row, without the batch dimension, which is at `axis` in the model's
    tensor. A string in `shape` names a dynamic dimension ("" if it has no name). A `per_item` input
    has no batch dimension and is given once per item.

    Args:
        missing: which values of a row may be missing: one flag for all of them, or one for each
            along the last dimension. Empty: none may. Only floats can be missing; the model gets
            NaN.
        missing_text: what the model of a string input gets for a missing value, or None if no value
            may be missing.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    per_item: bool = False
    axis: int = 0
    missing: tuple[bool, ...] = ()
    missing_text: str | None = None

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        missing = tuple(stored.get("missing", ()))
        return cls(**{**stored, "shape": tuple(stored["shape"]), "missing": missing})

    def values(self, items: Sequence[Any]) -> tuple[list[Any], Dims] | None:
        """Return all values of these items' rows in one flat list, and the shape of each row.

        Return None if any item may be invalid, or if rows have different shapes.
        """
        if set(map(type, items)) != {list}:
            return None
        if not (min(map(len, items)) > 0 and max(map(len, items)) <= MAX_ROWS_PER_ITEM):
            return None
        level = list(chain.from_iterable(items))
        dims = []
        for size in self.shape:
            if set(map(type, level)) != {list}:
                return None
            sizes = set(map(len, level))
            if len(sizes) != 1 or sizes == {0} or (type(size) is int and sizes != {size}):
                return None
            dims.append(sizes.pop())
            level = list(chain.from_iterable(level))
        return (level, tuple(dims)) if self._all_fit(level) else None

    def agrees(self, dims: Dims, sizes: dict[str, int]) -> bool:
        """Whether dimensions of one name have one size in `sizes`, to which these are added."""
        named = zip(self.shape, dims, strict=True)
        return all(
            sizes.setdefault(name, size) == size
            for name, size in named
            if type(name) is str and name
        )

    def dims(self, value: Any) -> Dims:
        """Return the shape of a valid value."""
        found = []
        for _ in self.shape:
            found.append(len(value))
            value = value[0]
        return tuple(found)

    def example(self) -> Any:
        """Return a valid value of one row."""
        value: Any = {"bool": True, "str": "text"}.get(
            self.dtype, 1.5 if self.dtype in FLOATS else 1
        )
        for size in reversed(self.shape):
            value = [value] * (size if type(size) is int else 3)
        return value

    def faults(self, value: object, pointer: str, sizes: dict[str, int]) -> Iterator[Fault]:
        """Return what is wrong with one row, or with the value of a per-item input.

        Args:
            sizes: named dimensions of the row's other inputs, to which this one's are added.
        """
        dims: list[int | None] = [None] * len(self.shape)
        yield from self._faults_of(value, 0, pointer, dims)
        if None not in dims and not self.agrees(tuple(d or 0 for d in dims), sizes):
            named = {name: sizes[name] for name in self.shape if type(name) is str and name}
            detail = f"dimensions of one name must have one size in a row, got {named}"
            yield Fault(pointer, "axes_differ", detail)

    def _all_fit(self, level: list[Any]) -> bool:
        if not TYPES[self.dtype].issuperset(map(type, level)):
            return False
        if self.dtype not in RANGES:
            return True
        low, high = RANGES[self.dtype]
        if not (low < min(level) and max(level) < high):
            return False
        total = sum(level)  # min and max do not find NaN, but a sum does
        return bool(total == total)

    def _faults_of(
        self, value: object, axis: int, pointer: str, dims: list[int | None]
    ) -> Iterator[Fault]:
        if axis == len(self.shape):
            yield from self._faults_of_value(value, pointer)
            return
        size = self.shape[axis]
        if type(value) is not list:
            expected = f"a list of {_values(size)}" if type(size) is int else "a list"
            yield Fault(pointer, "wrong_shape", f"expected {expected}, got {kind_of(value)}")
            return
        wanted = size if type(size) is int else dims[axis]
        if not value or (wanted is not None and len(value) != wanted):
            yield Fault(pointer, "wrong_width", _wrong_width(size, wanted, len(value)))
            return
        dims[axis] = len(value)
        for place, part in enumerate(value):
            yield from self._faults_of(part, axis + 1, f"{pointer}/{place}", dims)

    def _faults_of_value(self, value: Any, pointer: str) -> Iterator[Fault]:
        if self.dtype in RANGES:
            yield from self._faults_of_number(value, pointer)
            return
        expected, code = WHAT[self.dtype]
        if type(value) is list:
            yield Fault(pointer, "nested_too_deep", f"expected {expected}, got a list")
        elif type(value) not in TYPES[self.dtype]:
            yield Fault(pointer, code, f"expected {expected}, got {kind_of(value)}")

    def _faults_of_number(self, value: Any, pointer: str) -> Iterator[Fault]:
        low, high = RANGES[self.dtype]
        if type(value) is list:
            yield Fault(pointer, "nested_too_deep", "expected a number, got a list")
        elif type(value) not in (int, float):
            yield Fault(pointer, "not_a_number", f"expected a number, got {kind_of(value)}")
        elif value != value or value in (inf, -inf):
            yield Fault(pointer, "not_finite", f"expected a finite number, got {value}")
        elif type(value) not in TYPES[self.dtype]:
            yield Fault(pointer, "not_an_integer", f"expected an integer, got {value}")
        elif not low < value < high:
            yield Fault(
                pointer,
                "out_of_range",
                f"expected a number that fits into {self.dtype}, got {str(value)[:20]}",
            )


def _wrong_width(size: int | str, wanted: int | None, found: int) -> str:
    if type(size) is int:
        return f"expected {_values(size)}, got {found}"
    if wanted is None:
        return "expected at least one value, got none"
    return f"expected {_values(wanted)} as in the list before, got {found}"


def _values(count: int | str) -> str:
    return "1 value" if count == 1 else f"{count} values"


def kind_of(value: object) -> str:
    """Return the JSON name of a value, with the beginning of it if that helps."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else f"the number {value}"
