"""One input of a model, and the values that it accepts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

Dims = tuple[int, ...]

FLOAT16_LIMIT = 65520
"""The smallest number that rounds to infinity as a float16."""

FLOAT32_LIMIT = 3.4028235677973366e38
"""The same for a float32."""

FLOAT64_LIMIT = 2**1024 - 2**970
"""The same for a float64. It is an integer, since JSON may hold integers that no float can."""

FLOATS = {"float16": FLOAT16_LIMIT, "float32": FLOAT32_LIMIT, "float64": FLOAT64_LIMIT}
INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}


def _range(dtype: str) -> tuple[float, float]:
    if dtype in FLOATS:
        return -FLOATS[dtype], FLOATS[dtype]
    bits = int(dtype.lstrip("uint"))
    if dtype.startswith("u"):
        return -1, 2**bits
    return -(2 ** (bits - 1)) - 1, 2 ** (bits - 1)


RANGES = {dtype: _range(dtype) for dtype in (*FLOATS, *INTEGERS)}
"""The numbers between which a value must lie, both excluded."""


def shape_text(shape: Sequence[int | str]) -> str:
    """Return a shape for people: `[n, 4]`. A dynamic dimension without a name is `any`."""
    return f"[{', '.join(str(size) if size != '' else 'any' for size in shape)}]"


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

    @property
    def takes_bare_values(self) -> bool:
        """Whether a row may be `47` instead of `[47]`."""
        return self.shape == (1,)

    def may_miss(self, place: int) -> bool:
        """Whether the value at this place of the last dimension may be missing."""
        return bool(self.missing) and self.missing[place if len(self.missing) > 1 else 0]

    def agrees(self, dims: Dims, sizes: dict[str, int]) -> bool:
        """Whether dimensions of one name have one size in `sizes`, to which these are added."""
        named = zip(self.shape, dims, strict=True)
        return all(
            sizes.setdefault(name, size) == size
            for name, size in named
            if type(name) is str and name
        )

    def example(self) -> Any:
        """Return a valid value of one row."""
        value: Any = {"bool": True, "str": "text"}.get(
            self.dtype, 1.5 if self.dtype in FLOATS else 1
        )
        for size in reversed(self.shape):
            value = [value] * (size if type(size) is int else 3)
        return value

    def bare_example(self) -> Any:
        """Return a valid value of one row, without a list if that is allowed."""
        return self.example()[0] if self.takes_bare_values else self.example()


def to_integer(value: Any, dtype: str) -> int | None:
    """Return a JSON number as an integer of this type, or None. 47.0 is an integer."""
    low, high = RANGES[dtype]
    if type(value) is float and value.is_integer():
        value = int(value)
    return value if type(value) is int and low < value < high else None


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
