"""Rows as columns, and the rules for their values. Pure.

Readers turn each form of rows into a `Table` and check only the structure. `tensors` checks the
values of whole columns at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from batchline.ml.inputs import FLOATS, INTEGERS, RANGES, Dims, Input, to_integer
from batchline.ml.rows import RowTensors, Tensor
from batchline.ml.signature import Signature

Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""One flag per value or per row. None stands for a mask that is true everywhere."""

Checked = tuple[Tensor, Mask | None]

LIMITS = {**FLOATS, "float64": np.inf}
"""`FLOATS` as floats. A float64 that is finite is within its own limit."""


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one input for all rows of a table, flat, and the shape of each row.

    Args:
        values: a list as JSON gives it, or an array. A float that is missing is None or NaN.
        absent: where an array of integers, booleans or strings has no value, or None.
    """

    values: Sequence[Any] | Tensor
    dims: Dims = ()
    absent: Mask | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one shape, by input. `once` has the inputs that are given once per item."""

    columns: Mapping[str, Column]
    rows: int
    once: Mapping[str, Column] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """Return what tables must share so that they can be joined."""
        dims = [(name, self.columns[name].dims) for name in sorted(self.columns)]
        once = [(name, each.dims, repr(each.values)) for name, each in sorted(self.once.items())]
        return (*dims, *once)


def tensors(table: Table, signature: Signature) -> tuple[RowTensors, Mask | None]:
    """Return the rows as the model takes them, and which of them are valid.

    Invalid rows have arbitrary values.
    """
    found, good = {}, None
    for each in signature.row_inputs:
        found[each.name], fits = check_column(table.columns[each.name], each, table.rows)
        good = _both(good, fits)
    once = {}
    for each in signature.once:
        tensor, fits = check_column(table.once[each.name], each, 1)
        once[each.name] = tensor[0, ...]
        if fits is not None:
            good = np.zeros(table.rows, np.bool_)
    return RowTensors(found, once), good


def check_column(column: Column, of: Input, rows: int) -> Checked:
    """Return a column as a tensor with the batch dimension first, and which rows are valid."""
    check = _floats if of.dtype in FLOATS else _integers if of.dtype in INTEGERS else _others
    flat, fits = check(column, of)
    tensor = flat.reshape(rows, *column.dims)
    if of.dtype in FLOATS and fits is not None and any(of.missing):
        may_miss = np.isnan(tensor) & np.array(of.missing)
        fits = fits.reshape(tensor.shape) | may_miss
    if fits is None or fits.all():
        return tensor, None
    good: Mask = np.all(fits.reshape(rows, -1), axis=1)
    return tensor, good


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return np.logical_and(one, other)


def _floats(column: Column, of: Input) -> Checked:
    if isinstance(column.values, np.ndarray) and column.values.dtype == of.dtype:
        finite = np.isfinite(column.values)
        return column.values, None if finite.all() else finite
    wide = _to_float64(column.values)
    if column.absent is not None:
        wide[column.absent] = np.nan
    fits = np.abs(wide) < LIMITS[of.dtype]  # NaN is below nothing
    if fits.all():
        return wide.astype(of.dtype), None
    with np.errstate(over="ignore"):
        return wide.astype(of.dtype), fits


def _to_float64(values: Sequence[Any] | Tensor) -> Tensor:
    """Return numbers as they are, None as NaN, and infinity for anything else."""
    if isinstance(values, np.ndarray):
        return values.astype(np.float64)
    if not {float, int, type(None)}.issuperset(map(type, values)):
        values = [value if type(value) in (float, int, type(None)) else np.inf for value in values]
    try:
        return np.array(values, np.float64)
    except OverflowError:  # an integer that no float can hold
        limit = FLOATS["float64"]
        return np.array(
            [np.inf if value is not None and abs(value) >= limit else value for value in values],
            np.float64,
        )


def _integers(column: Column, of: Input) -> Checked:
    if isinstance(column.values, np.ndarray):
        return _integers_of_array(column, of)
    low, high = RANGES[of.dtype]
    values = column.values
    # Compared as Python's integers: as floats, 2**63 and 2**63 - 1 are equal.
    if {int}.issuperset(map(type, values)) and low < min(values) and max(values) < high:
        return np.array(values, of.dtype), None
    found = [to_integer(value, of.dtype) for value in values]
    fits = np.array([value is not None for value in found])
    return np.array([value or 0 for value in found], of.dtype), fits


def _integers_of_array(column: Column, of: Input) -> Checked:
    values, target = np.asarray(column.values), np.iinfo(of.dtype)
    if values.dtype == of.dtype and column.absent is None:
        return values, None
    if values.dtype.kind == "f":
        # The limits of an integer type are powers of two, which floats hold exactly.
        low, high = float(target.min), float(target.max) + (target.bits < 64)
        fits = (values == np.floor(values)) & (values >= low) & (values < high)
    else:
        source = np.iinfo(values.dtype)
        fits = (values >= max(target.min, source.min)) & (values <= min(target.max, source.max))
    if column.absent is not None:
        fits &= ~column.absent
    return np.where(fits, values, 0).astype(of.dtype), None if fits.all() else fits


def _others(column: Column, of: Input) -> Checked:
    """Strings and booleans."""
    kind: type = str if of.dtype == "str" else bool
    dtype, nothing = (object, "") if kind is str else (bool, False)
    values = column.values
    if isinstance(values, np.ndarray):
        flat = values.astype(dtype)
        fits = np.ones(len(flat), bool) if column.absent is None else ~column.absent
    elif {kind}.issuperset(map(type, values)):
        return np.array(values, dtype), None
    else:
        fits = np.array([type(value) is kind for value in values])
        flat = np.array([value if type(value) is kind else nothing for value in values], dtype)
        column = Column(values, absent=np.array([value is None for value in values]))
    if kind is str and of.missing_text is not None and column.absent is not None:
        flat[column.absent] = of.missing_text
        fits = fits | column.absent
    return flat, fits


def joined(tables: Sequence[Table]) -> Table:
    """Return the rows of several tables from JSON, which have the same `key`, as one."""
    first = tables[0]
    if len(tables) == 1:
        return first
    columns = {}
    for name, column in first.columns.items():
        values: list[Any] = []
        for table in tables:
            values += table.columns[name].values
        columns[name] = Column(values, column.dims)
    return Table(columns, sum(table.rows for table in tables), first.once)
