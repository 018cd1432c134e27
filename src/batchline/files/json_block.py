"""The features of JSON lines, each as the asked type."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import json as pyarrow_json

from batchline.files.arrays import from_strings, single, validity, values_of, without
from batchline.files.blocks import Note, Trouble
from batchline.files.csv_cells import Marks, convert
from batchline.files.json_rows import NAN, JsonRows
from batchline.files.json_values import Number, TooDeep, dump, load
from batchline.files.kinds import Kind
from batchline.files.lists import fixed_lists, items_of
from batchline.files.utf8 import is_unicode, is_utf8

Kinds = Mapping[str, Kind]
Object = dict[str, Any]


def read_features(rows: JsonRows, features: Kinds, trouble: Trouble) -> dict[str, pa.Array]:
    """Return the values of each feature, and note the rows that cannot be read.

    Rows with a problem are null in every feature. So are features without a key.
    """
    found = _as_types(rows, features)
    if found is not None:
        return found
    objects = [_object(rows[row], row, features, trouble.add) for row in range(len(rows))]
    columns = {
        name: _column([each.get(name) for each in objects], name, kind, trouble.add)
        for name, kind in features.items()
    }
    bad = trouble.mask(len(rows))
    return {name: without(column, bad) for name, column in columns.items()}


def _as_types(rows: JsonRows, features: Kinds) -> dict[str, pa.Array] | None:
    """Return what pyarrow makes of the lines, or None if it refuses one or might be lenient.

    pyarrow accepts NaN, several objects on one line and any number of levels, and crashes if the
    first value is null.
    """
    if not len(rows) or not features or NAN in rows.data or b"Inf" in rows.data:
        return None
    if not (rows.are_objects and rows.are_shallow and is_utf8(rows.data)):
        return None
    types = {
        name: kind.value_type if kind.width is None else pa.list_(kind.value_type)
        for name, kind in features.items()
    }
    data = rows.joined()
    try:
        table = pyarrow_json.read_json(
            pa.BufferReader(data),
            pyarrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            pyarrow_json.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != len(rows):
        return None
    columns = {name: _checked(single(table[name]), kind) for name, kind in features.items()}
    complete = {name: column for name, column in columns.items() if column is not None}
    return complete if len(complete) == len(columns) else None


def _checked(column: pa.Array, kind: Kind) -> pa.Array | None:
    """Return a column, or None if one of its values is infinite or a list has another width."""
    valid = validity(column)
    values = column
    if kind.width is not None:
        values, wide = items_of(column, kind.width)
        if (valid & ~wide).any():
            return None
    if kind.is_float and not np.isfinite(values_of(values)[validity(values)]).all():
        return None
    return column if kind.width is None else fixed_lists(values, kind.width, valid)


def _object(line: bytes, row: int, features: Kinds, note: Note) -> Object:
    """Return the members of a line, or none if it is no object."""
    shown = line.decode("utf-8", "backslashreplace")
    try:
        found = load(line.decode())
    except UnicodeDecodeError:
        note(row, "invalid_encoding", "the line is not UTF-8", "", shown)
        return {}
    except json.JSONDecodeError as error:
        detail = f"the line is not valid JSON: {error.msg} at character {error.colno}"
        note(row, "invalid_json", detail, "", shown)
        return {}
    except TooDeep as error:
        note(row, "invalid_json", str(error), "", shown)
        return {}
    except ValueError as error:
        note(row, "invalid_json", f"the line is not valid JSON: {error}", "", shown)
        return {}
    if not isinstance(found, tuple):
        note(row, "invalid_json", "the line is not a JSON object", "", shown)
        return {}
    names = [name for name, _ in found]
    for name in features:
        if names.count(name) > 1:
            note(row, "repeated_key", f"the key {name!r} is there twice", name, shown)
    return dict(found)


def _column(values: list[Any], name: str, kind: Kind, note: Note) -> pa.Array:
    """Return JSON values as an array. A value of another type is noted and becomes null."""
    width = 1 if kind.width is None else kind.width
    lists = [[value] for value in values] if kind.width is None else values
    texts: list[str | None] = []
    valid = np.ones(len(values), bool)

    def report(row: int, code: str, detail: str, value: Any) -> None:
        note(row, code, detail, name, value if isinstance(value, str) else dump(value))

    for row, items in enumerate(lists):
        if problem := _shape_problem(items, width):
            report(row, *problem, items)
        if valid_row := not (problem or items is None):
            texts += [_text(item, kind, lambda *why, row=row: report(row, *why)) for item in items]
        else:
            texts += [None] * width
        valid[row] = valid_row
    found = convert(from_strings(texts), kind, Marks(), lambda at, *why: report(at // width, *why))
    return found if kind.width is None else fixed_lists(found, kind.width, valid)


def _shape_problem(items: Any, width: int) -> tuple[str, str] | None:
    if items is None:
        return None
    if not isinstance(items, list):
        return "wrong_shape", f"expected a list of {width} values"
    if len(items) != width:
        return "wrong_width", f"expected a list of {width} values, got {len(items)}"
    return None


def _text(value: Any, kind: Kind, report: Callable[[str, str, Any], None]) -> str | None:
    """Return the text from which `convert` makes the value."""
    if value is None:
        return None
    if kind.is_text:
        if type(value) is str and is_unicode(value):
            return value
        report("not_a_text", "expected a string", value)
    elif kind.dtype == "bool":
        if type(value) is bool:
            return "true" if value else "false"
        report("not_a_bool", "expected true or false", value)
    elif type(value) is Number:
        return value
    else:
        quoted = type(value) is str and _is_number(value)
        expected = "expected a number without quotes" if quoted else "expected a number"
        report("not_a_number", expected, value)
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
