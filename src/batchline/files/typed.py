"""Typed values → the asked type, by the same rules as for texts."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import pyarrow as pa

from batchline.errors import Fault
from batchline.files.arrays import from_numpy, nothing, validity, values_of, without
from batchline.files.blocks import Trouble
from batchline.files.columns import missing, repeated
from batchline.files.csv_cells import Marks, convert
from batchline.files.kinds import Kind
from batchline.files.lists import fixed_lists, items_of
from batchline.files.value_texts import is_list

TEXT_HINT = (
    "convert the texts to numbers, or read them from CSV. The columns that `predict` keeps from "
    "CSV are text in other formats"
)

Report = Callable[[int, str, str, str], None]


def column_faults(path: str, schema: pa.Schema, features: Mapping[str, Kind]) -> Iterator[Fault]:
    """Return why these columns cannot be read from a table."""
    absent = [n for n, kind in features.items() if n not in schema.names and not kind.optional]
    yield from missing(path, absent, schema.names, features)
    for name, kind in features.items():
        count = schema.names.count(name)
        if count > 1:
            yield repeated(path, tuple(schema.names), name)
        elif count == 1 and not can_become(type_ := schema.field(name).type, kind):
            detail = f"{name!r} must be {kind}, but its type is {type_}"
            yield Fault(path, "wrong_type", detail, TEXT_HINT if _is_text(type_) else "")


def features_of(
    batch: pa.RecordBatch, features: Mapping[str, Kind], trouble: Trouble
) -> dict[str, pa.Array]:
    """Return the values of each feature, and note the rows that cannot be read.

    Rows with a problem are null in every feature. So are features without a column.
    """
    names = batch.schema.names
    values = {
        name: as_kind(batch.column(name), kind, partial(note, trouble, name))
        if name in names
        else nothing(batch.num_rows, kind.arrow_type)
        for name, kind in features.items()
    }
    bad = trouble.mask(batch.num_rows)
    return {name: without(array, bad) for name, array in values.items()}


def note(trouble: Trouble, column: str, row: int, code: str, detail: str, value: str) -> None:
    """Note what is wrong with a row. Without its first two arguments, it is a `Report`."""
    trouble.add(row, code, detail, column, value)


def can_become(type_: pa.DataType, kind: Kind) -> bool:
    """Whether values of a type can be values of a kind."""
    if pa.types.is_null(type_):
        return True
    if pa.types.is_dictionary(type_):
        return can_become(type_.value_type, kind)
    if kind.width is not None:
        return is_list(type_) and can_become(type_.value_type, Kind(kind.dtype))
    if kind.is_text:
        return _is_text(type_)
    if kind.dtype == "bool":
        return bool(pa.types.is_boolean(type_))
    checks = pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal
    return any(check(type_) for check in checks)


def _is_text(type_: pa.DataType) -> bool:
    checks = pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view
    return any(check(type_) for check in checks)


def as_kind(array: pa.Array, kind: Kind, report: Report) -> pa.Array:
    """Return an array as values of a kind. A value that is none is reported and becomes null."""
    type_ = array.type
    if pa.types.is_null(type_):
        return pa.nulls(len(array), kind.arrow_type)
    if pa.types.is_dictionary(type_):
        return as_kind(array.dictionary_decode(), kind, report)
    if kind.width is not None:
        return _lists(array, kind, report)
    if kind.is_text or kind.dtype == "bool":
        return array.cast(kind.value_type)
    if pa.types.is_decimal(type_):
        return convert(array.cast(pa.string()), kind, Marks(), report)
    return _numbers(array, kind, report)


def _lists(array: pa.Array, kind: Kind, report: Report) -> pa.Array:
    width = kind.width or 0
    items, wide = items_of(array, width)
    for row in np.flatnonzero(validity(array) & ~wide).tolist():
        found = array[row].as_py()
        report(row, "wrong_width", f"expected {width} values, got {len(found)}", str(found))
    values = as_kind(items, Kind(kind.dtype), lambda at, *why: report(at // width, *why))
    return fixed_lists(values, width, wide)


def _numbers(array: pa.Array, kind: Kind, report: Report) -> pa.Array:
    """Return numbers as another type. Each is checked before it is converted. NaN is missing."""
    valid, values = validity(array), values_of(array)
    if values.dtype.kind == "f":
        valid = valid & ~np.isnan(values)
    values = np.where(valid, values, np.zeros(1, values.dtype))
    finite = np.isfinite(values)
    with np.errstate(all="ignore"):
        if kind.is_float:
            found = values.astype(kind.dtype)
            whole, fits = finite, np.isfinite(found)
        else:
            whole = finite & (values == np.rint(values))
            fits = _within(values, kind)
            found = np.where(whole & fits, values, np.zeros(1, values.dtype)).astype(kind.dtype)
    good = finite & whole & fits
    for row in np.flatnonzero(~good).tolist():
        report(row, *_problem(bool(finite[row]), bool(whole[row]), kind), str(array[row].as_py()))
    return without(from_numpy(found, kind.value_type), ~(valid & good))


def _within(values: np.ndarray, kind: Kind) -> np.ndarray:
    """Whether numbers are in the range of an integer type, whose ends no float may round."""
    least, most = kind.limits
    if values.dtype.kind == "f":
        return (values >= float(least)) & (values < float(most + 1))
    return (values >= least) & (values <= most)


def _problem(finite: bool, whole: bool, kind: Kind) -> tuple[str, str]:
    if not finite:
        return "not_finite", "expected a finite number"
    if not whole:
        return "not_an_integer", "expected an integer"
    if kind.is_integer:
        return "out_of_range", "expected {} to {}".format(*kind.limits)
    return "out_of_range", f"the number is out of the range of {kind}"
