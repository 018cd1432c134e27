"""The types that a caller asks for. Nothing in this package infers one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

FLOATS = ("float16", "float32", "float64")
INTEGERS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a feature.

    Args:
        dtype: a name of numpy's: float16 to float64, int8 to uint64, "bool", or "str" for text.
        width: None for one value per row. Otherwise the row has a list of this number of values,
            which JSON Lines and Parquet can hold and CSV cannot.
        optional: the column may be absent. Then all its values are missing.
    """

    dtype: str
    width: int | None = None
    optional: bool = False

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_integer(self) -> bool:
        return self.dtype in INTEGERS

    @property
    def is_text(self) -> bool:
        return self.dtype == "str"

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer of this type."""
        bits = int(self.dtype.lstrip("uint"))
        return (
            (0, 2**bits - 1) if self.dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        )

    @property
    def value_type(self) -> pa.DataType:
        """The Arrow type of one value."""
        import pyarrow as pa

        names = {"str": "string", "bool": "bool_"}
        found: pa.DataType = getattr(pa, names.get(self.dtype, self.dtype))()
        return found

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the column."""
        import pyarrow as pa

        return self.value_type if self.width is None else pa.list_(self.value_type, self.width)

    def __str__(self) -> str:
        name = {"str": "text"}.get(self.dtype, self.dtype)
        return name if self.width is None else f"list of {self.width} {name}"
