"""Python values of any types, as a column of pandas may have them → Arrow arrays."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from batchline.files.arrays import from_numpy, nothing
from batchline.files.csv_cells import Report
from batchline.files.kinds import Kind
from batchline.files.typed import as_kind, can_become
from batchline.scoring.sql_values import feature_array


def natural(values: Any) -> pa.Array | None:
    """Return values as the type that pyarrow finds for them, or None if it finds none."""
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return None


def row_by_row(values: Iterable[Any], kind: Kind, report: Report) -> pa.Array:
    """Return values of different types as a kind. One that is none is reported and becomes null."""
    given = list(values)
    rows: dict[type, list[int]] = {}
    for row, value in enumerate(given):
        rows.setdefault(type(value), []).append(row)
    parts = [
        _alike([given[row] for row in at], kind, lambda n, *why, at=at: report(at[n], *why))
        for at in rows.values()
    ]
    order = np.argsort(np.concatenate(list(map(np.array, rows.values()))))
    return pa.concat_arrays(parts).take(from_numpy(order, pa.int64()))


def _alike(values: list[Any], kind: Kind, report: Report) -> pa.Array:
    """Return values of one type. If pyarrow refuses them together, they are halved."""
    array = natural(values)
    if array is not None and can_become(array.type, kind):
        return as_kind(array, kind, report)
    is_number = isinstance(values[0], int | Decimal) and not isinstance(values[0], bool)
    if is_number and (kind.is_integer or kind.is_float) and kind.width is None:
        return feature_array(values, kind, report)  # beyond the numbers of Arrow
    if array is None and len(values) > 1:
        half = len(values) // 2
        rest = _alike(values[half:], kind, lambda row, *why: report(half + row, *why))
        return pa.concat_arrays([_alike(values[:half], kind, report), rest])
    for row, value in enumerate(values):
        report(row, *_expected(kind), str(value))
    return nothing(len(values), kind.arrow_type)


def _expected(kind: Kind) -> tuple[str, str]:
    if kind.width is not None:
        return "wrong_type", f"expected a {kind}"
    if kind.is_text:
        return "not_a_text", "expected a string"
    if kind.dtype == "bool":
        return "not_a_bool", "expected true or false"
    return "not_a_number", "expected a number"
