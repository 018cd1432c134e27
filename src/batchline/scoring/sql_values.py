"""Values as a database driver gives them → Arrow arrays, for the model and for the output."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from batchline.db.value_types import SqlColumn, ValueType
from batchline.file_errors import InvalidColumns
from batchline.files.arrays import from_numpy, from_strings
from batchline.files.csv_cells import Marks, Report, convert
from batchline.files.json_values import Number, load
from batchline.files.kinds import Kind
from batchline.files.lists import fixed_lists
from batchline.files.typed import as_kind

Values = Sequence[Any]

SQL_TYPE = b"sql"
"""The metadata of a kept column with its `ValueType`, for the type of a column of a table."""

KEPT_TYPES = {
    ValueType.INTEGER: pa.int64(),
    ValueType.UNSIGNED: pa.uint64(),
    ValueType.FLOAT: pa.float64(),
    ValueType.BOOLEAN: pa.bool_(),
}
"""The types of kept columns. All others are text, decimals too, so that they stay exact."""

NUMBERS = {
    ValueType.INTEGER,
    ValueType.UNSIGNED,
    ValueType.FLOAT,
    ValueType.DECIMAL,
    ValueType.UNKNOWN,
}


def kept_field(column: SqlColumn) -> pa.Field:
    """Return a column as it is kept for the output."""
    type_ = KEPT_TYPES.get(column.type, pa.string())
    return pa.field(column.name, type_, metadata={SQL_TYPE: column.type.value.encode()})


def sql_column(field: pa.Field) -> SqlColumn:
    """Return the column of a table that holds the values of a field."""
    known = (field.metadata or {}).get(SQL_TYPE)
    if known is not None:
        return SqlColumn(field.name, ValueType(known.decode()))
    type_ = field.type
    if pa.types.is_boolean(type_):
        return SqlColumn(field.name, ValueType.BOOLEAN)
    if type_ == pa.uint64():
        return SqlColumn(field.name, ValueType.UNSIGNED)
    if pa.types.is_integer(type_):
        return SqlColumn(field.name, ValueType.INTEGER)
    return SqlColumn(field.name, ValueType.FLOAT if pa.types.is_floating(type_) else ValueType.TEXT)


def can_become(column: SqlColumn, kind: Kind) -> bool:
    """Whether values of a column can be values of a kind."""
    if kind.width is not None:
        return column.type not in NUMBERS - {ValueType.UNKNOWN} | {ValueType.BOOLEAN}
    if kind.is_text:
        return column.type is not ValueType.LIST
    if kind.dtype == "bool":
        return column.type in (ValueType.BOOLEAN, ValueType.INTEGER, ValueType.UNKNOWN)
    return column.type in NUMBERS


def kept_array(values: Values, field: pa.Field) -> pa.Array:
    """Return the values of a kept column.

    Raises:
        InvalidColumns: SQLite has a text in a column that began with integers.
    """
    if pa.types.is_string(field.type):
        return texts(values)
    if pa.types.is_integer(field.type):
        wrong = next((v for v in values if type(v) not in (int, type(None))), None)
        if wrong is not None:
            raise InvalidColumns(
                f"the column {field.name!r} begins with integers, but has {str(wrong)[:100]!r}",
                hint=f"select CAST({field.name} AS TEXT) AS {field.name}",
            )
    return _numbers(values, field.type)


def texts(values: Values) -> pa.Array:
    """Return values as texts. Bytes are hexadecimal digits."""
    return from_strings([None if value is None else _text(value) for value in values])


def feature_array(values: Values, kind: Kind, report: Report) -> pa.Array:
    """Return values as a kind. A value that is none is reported and becomes null."""
    if kind.width is not None:
        return _lists(values, kind, report)
    if kind.is_text:
        return texts(values)
    types = set(map(type, values)) - {type(None)}
    are_exact = not (kind.is_integer and types == {int, float}) or _fit_floats(values)
    if kind.dtype != "bool" and types <= {int, float} and are_exact:
        natural = pa.float64() if float in types else pa.int64()
        if float in types or _fits(values):
            return as_kind(_numbers(values, natural), kind, report)
    exact = [_whole(value) for value in values] if kind.is_integer else values
    return convert(texts(exact), kind, Marks(), report)


def _whole(value: Any) -> Any:
    """Return a float as the integer that it is: its shortest text may be that of another one."""
    if type(value) is float and value.is_integer() and abs(value) < 2**64:
        return int(value)
    return value


def _fits(values: Values) -> bool:
    given = [value for value in values if value is not None]
    return not given or -(2**63) <= min(given) <= max(given) < 2**63


def _fit_floats(values: Values) -> bool:
    """Whether no integer changes if it becomes a float."""
    return all(-(2**53) <= value <= 2**53 for value in values if type(value) is int)


def _numbers(values: Values, type_: pa.DataType) -> pa.Array:
    dtype = type_.to_pandas_dtype()
    if None not in values:
        return from_numpy(np.array(values, dtype), type_)
    valid = np.array([value is not None for value in values], bool)
    filled = np.array([0 if value is None else value for value in values], dtype)
    return from_numpy(filled, type_, valid)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, bool | list):
        return orjson.dumps(value, default=str).decode()
    return repr(value) if isinstance(value, float) else str(value)


def _lists(values: Values, kind: Kind, report: Report) -> pa.Array:
    """Return lists: PostgreSQL's arrays, or texts with JSON. Their items are as single values."""
    width = kind.width or 0
    lists = [_list(row, value, kind, report) for row, value in enumerate(values)]
    items = list(chain.from_iterable([None] * width if each is None else each for each in lists))
    found = feature_array(items, Kind(kind.dtype), lambda at, *why: report(at // width, *why))
    return fixed_lists(found, width, np.array([each is not None for each in lists], bool))


def _list(row: int, value: Any, kind: Kind, report: Report) -> list[Any] | None:
    """Return the items of a list."""
    if value is None:
        return None
    found = _json_items(value, kind) if isinstance(value, str) else value
    types = set(map(type, found)) if isinstance(found, list) else {list}
    if types & {list, tuple, dict}:
        problem = "wrong_type", "expected a list"
    elif len(found) != kind.width:
        problem = "wrong_width", f"expected {kind.width} values, got {len(found)}"
    elif isinstance(value, list) or types <= {type(None), *_json_types(kind)}:
        return list(found)
    else:
        what = "strings" if kind.is_text else "values without quotes"
        problem = "wrong_type", f"expected a list of {what}"
    report(row, *problem, str(value))
    return None


def _json_types(kind: Kind) -> set[type]:
    return {str} if kind.is_text else {bool, int, float, Number}


def _json_items(text: str, kind: Kind) -> Any:
    """Return what JSON says. Numbers that orjson rounds or refuses stay as they are written."""
    try:
        found = orjson.loads(text)
        is_list = isinstance(found, list)
        if not (kind.is_integer and is_list and float in set(map(type, found))):
            return found
    except ValueError:
        if kind.is_text:
            return None
    try:
        return load(text)
    except (ValueError, RecursionError):
        return None
