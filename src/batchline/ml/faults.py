"""Find out what is wrong with rows, with a pointer to each value. Pure.

This goes through the values one by one. That is the fastest way for a row or a few. More rows come
here only if `forms.accepts` did not accept them. Both have the same rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from math import isfinite
from typing import Any

from batchline.constants import MAX_REPORTED_FAULTS, MAX_ROWS_PER_ITEM
from batchline.errors import Fault
from batchline.ml.forms import Form, accepts, form_of
from batchline.ml.inputs import FLOATS, INTEGERS, RANGES, Input, kind_of, to_integer
from batchline.ml.signature import Signature

SHOWN_NAMES = 20

COMPARED_NAMES = 100
"""A model with more names gets no suggestion for an unknown one, since that takes too long."""

COMPARED_CHARACTERS = 100

FEW_VALUES = 8
"""Values of an input that can be checked one by one in the time that an array takes."""

MISSING = (
    "send a value, or add the model again with its options and --missing if it knows missing values"
)
WORDS_FOR_NOTHING = {"", "na", "n/a", "nan", "none", "null"}
NO_VALUE = "send null for a missing value"
MISSING_TEXT = (
    "say what stands for a missing string: `batchline models add NAME FILE --missing-text VALUE`"
)


def faults(data: object, signature: Signature, limit: int = MAX_REPORTED_FAULTS) -> list[Fault]:
    """Return what is wrong with the data of one item, with JSON pointers into it.

    At most `limit` are listed, so there may be more.
    """
    if not _are_few(data, signature) and accepts([data], signature):  # nearly always true
        return []
    return list(islice(_faults(data, signature), limit))


def _are_few(data: object, signature: Signature) -> bool:
    """Whether these are so few values that arrays are not worth it."""
    per_row = signature.values_per_row
    if per_row is None:
        return False
    first = next(iter(data.values()), None) if type(data) is dict else data
    rows = len(first) if type(first) is list else 1
    return rows * per_row <= FEW_VALUES * len(signature.inputs)


def _faults(data: Any, signature: Signature) -> Iterator[Fault]:
    form = form_of(data, signature)
    if form is Form.LISTS:
        yield from _of_list(data, signature)
    elif form is Form.RECORDS:
        yield from _of_records(data, signature)
    elif form is Form.RECORD:
        yield from _of_record(data, "", signature)
    elif form is Form.COLUMNS:
        yield from _of_columns(data, signature)
    elif form is Form.INPUTS:
        yield from _of_inputs(data, signature)
    else:
        what = "features" if signature.features is not None else "inputs"
        names = ", ".join(signature.names[:SHOWN_NAMES])
        expected = f"expected an object with the {what} {names}"
        yield Fault("", "wrong_shape", f"{expected}, got {kind_of(data)}")


def _of_list(rows: Any, signature: Signature) -> Iterator[Fault]:
    if fault := _of_count(rows, ""):
        yield fault
        return
    for place, row in enumerate(rows):
        yield from _of_row(row, signature.inputs[0], f"/{place}", {})


def _of_records(records: Sequence[Any], signature: Signature) -> Iterator[Fault]:
    if fault := _of_count(records, ""):
        yield fault
        return
    for place, record in enumerate(records):
        yield from _of_record(record, f"/{place}", signature)


def _of_record(record: Any, pointer: str, signature: Signature) -> Iterator[Fault]:
    if type(record) is not dict:
        yield Fault(pointer, "wrong_shape", f"expected an object, got {kind_of(record)}")
        return
    if record.keys() != set(signature.names):
        yield from _of_names(record, pointer, signature.names)
    elif signature.features is not None:
        for place, name in enumerate(signature.features):
            where = f"{pointer}/{escape(name)}"
            yield from _of_value(record[name], signature.inputs[0], where, place)
    else:
        sizes: dict[str, int] = {}
        for each in signature.inputs:
            where = f"{pointer}/{escape(each.name)}"
            yield from _of_row(record[each.name], each, where, sizes)


def _of_columns(data: Mapping[str, Any], signature: Signature) -> Iterator[Fault]:
    if data.keys() != set(signature.names):
        yield from _of_names(data, "", signature.names)
        return
    columns = {name: data[name] for name in signature.names}
    if fault := _of_counts(columns):
        yield fault
        return
    for row in range(len(data[signature.names[0]])):
        for place, name in enumerate(signature.names):
            where = f"/{escape(name)}/{row}"
            yield from _of_value(data[name][row], signature.inputs[0], where, place)


def _of_inputs(data: Mapping[str, Any], signature: Signature) -> Iterator[Fault]:
    names = [each.name for each in signature.inputs]
    if data.keys() != set(names):
        yield from _of_names(data, "", names)
        return
    if fault := _of_counts({each.name: data[each.name] for each in signature.row_inputs}):
        yield fault
        return
    once: dict[str, int] = {}
    for each in signature.once:
        yield from _of_row(data[each.name], each, f"/{escape(each.name)}", once)
    for place in range(len(data[signature.row_inputs[0].name])):
        sizes = dict(once)  # named dimensions have one size within a row
        for each in signature.row_inputs:
            pointer = f"/{escape(each.name)}/{place}"
            yield from _of_row(data[each.name][place], each, pointer, sizes)


def _of_names(data: Mapping[str, Any], pointer: str, names: Sequence[str]) -> Iterator[Fault]:
    known = set(names)
    for name in names:
        if name not in data:
            yield Fault(f"{pointer}/{escape(name)}", "missing_input", f"{name} is missing")
    for name in data:
        if name not in known:
            near = _nearest(name, names)
            known_names = f"did you mean {near}?" if near else f"only {_listed(names)}"
            detail = f"the model has no {_readable(name[:80])}, {known_names}"
            yield Fault(f"{pointer}/{escape(name)}", "unknown_input", detail)


def _nearest(name: str, names: Sequence[str]) -> str | None:
    if len(names) > COMPARED_NAMES:
        return None
    return next(iter(get_close_matches(name[:COMPARED_CHARACTERS], names, n=1)), None)


def _listed(names: Sequence[str]) -> str:
    more = ", …" if len(names) > SHOWN_NAMES else ""
    return ", ".join(sorted(names)[:SHOWN_NAMES]) + more


def _of_counts(columns: Mapping[str, Any]) -> Fault | None:
    """Return what is wrong with the numbers of rows."""
    for name, rows in columns.items():
        if fault := _of_count(rows, f"/{escape(name)}"):
            return fault
    counts: dict[int, str] = {}
    for name, rows in columns.items():
        counts.setdefault(len(rows), name)
    if len(counts) == 1:
        return None
    shown = islice(counts.items(), SHOWN_NAMES)
    told = ", ".join(f"{count} for {name}" for count, name in shown)
    return Fault("", "wrong_row_count", f"all must have the same number of rows, got {told}")


def _of_count(rows: object, pointer: str) -> Fault | None:
    if type(rows) is not list:
        return Fault(pointer, "wrong_shape", f"expected a list of rows, got {kind_of(rows)}")
    if not rows:
        return Fault(pointer, "no_rows", "expected at least one row, got none")
    if len(rows) > MAX_ROWS_PER_ITEM:
        detail = f"an item must have at most {MAX_ROWS_PER_ITEM} rows, got {len(rows)}"
        return Fault(pointer, "too_many_rows", detail)
    return None


def _of_row(value: object, of: Input, pointer: str, sizes: dict[str, int]) -> Iterator[Fault]:
    """Return what is wrong with one row, or with the value of a per-item input.

    Args:
        sizes: named dimensions of the row's other inputs, to which this one's are added.
    """
    if of.takes_bare_values and type(value) is not list:
        yield from _of_value(value, of, pointer, 0)
        return
    dims: list[int | None] = [None] * len(of.shape)
    yield from _of_nested(value, of, pointer, dims, 0)
    if None not in dims and not of.agrees(tuple(d or 0 for d in dims), sizes):
        named = {name: sizes[name] for name in of.shape if type(name) is str and name}
        detail = f"dimensions of one name must have one size in a row, got {named}"
        yield Fault(pointer, "axes_differ", detail)


def _of_nested(
    value: object, of: Input, pointer: str, dims: list[int | None], place: int, axis: int = 0
) -> Iterator[Fault]:
    """Return what is wrong with the part of a row from this axis on.

    Args:
        dims: the sizes found so far, to which this axis is added.
        place: the index of the value along the last dimension.
    """
    if axis == len(of.shape):
        yield from _of_value(value, of, pointer, place)
        return
    size = of.shape[axis]
    if type(value) is not list:
        expected = f"a list of {_values(size)}" if type(size) is int else "a list"
        yield Fault(pointer, "wrong_shape", f"expected {expected}, got {kind_of(value)}")
        return
    wanted = size if type(size) is int else dims[axis]
    if not value or (wanted is not None and len(value) != wanted):
        yield Fault(pointer, "wrong_width", _wrong_width(size, wanted, len(value)))
        return
    dims[axis] = len(value)
    for index, part in enumerate(value):
        yield from _of_nested(part, of, f"{pointer}/{index}", dims, index, axis + 1)


def _of_value(value: Any, of: Input, pointer: str, place: int) -> Iterator[Fault]:
    if of.dtype in FLOATS:
        fault = _of_float(value, of, pointer, may_miss=of.may_miss(place))
    elif of.dtype in INTEGERS:
        fault = _of_integer(value, of, pointer)
    elif of.dtype == "str":
        fault = _of_text(value, of, pointer)
    else:
        fault = _of_bool(value, pointer)
    if fault is not None:
        yield fault


def _of_float(value: Any, of: Input, pointer: str, *, may_miss: bool) -> Fault | None:
    is_missing = value is None or (type(value) is float and value != value)
    if not is_missing:
        return _of_number(value, of, pointer)
    if may_miss:
        return None
    if value is None:
        return Fault(pointer, "not_a_number", "expected a number, got null", MISSING)
    return Fault(pointer, "not_finite", "expected a finite number, got nan", MISSING)


def _of_integer(value: Any, of: Input, pointer: str) -> Fault | None:
    if to_integer(value, of.dtype) is not None:
        return None
    if type(value) is float and isfinite(value) and not value.is_integer():
        return Fault(pointer, "not_an_integer", f"expected an integer, got {value}")
    return _of_number(value, of, pointer)


def _of_number(value: Any, of: Input, pointer: str) -> Fault | None:
    low, high = RANGES[of.dtype]
    if type(value) not in (int, float):
        return _wrong_kind(value, "a number", "not_a_number", pointer)
    if type(value) is float and not isfinite(value):
        return Fault(pointer, "not_finite", f"expected a finite number, got {value}")
    if low < value < high:
        return None
    detail = f"expected a number that fits into {of.dtype}, got {str(value)[:20]}"
    return Fault(pointer, "out_of_range", detail)


def _of_text(value: Any, of: Input, pointer: str) -> Fault | None:
    if type(value) is str or (value is None and of.missing_text is not None):
        return None
    return _wrong_kind(value, "a string", "not_a_text", pointer)


def _of_bool(value: Any, pointer: str) -> Fault | None:
    if type(value) is bool:
        return None
    return _wrong_kind(value, "true or false", "not_a_bool", pointer)


def _wrong_kind(value: Any, expected: str, code: str, pointer: str) -> Fault:
    if type(value) is list:
        return Fault(pointer, "nested_too_deep", f"expected {expected}, got a list")
    hint = ""
    if type(value) is str and code == "not_a_number":
        if value.lower() in WORDS_FOR_NOTHING:
            hint = NO_VALUE
        elif _is_number(value):
            hint = "send numbers without quotes"
    if value is None and code == "not_a_text":
        hint = MISSING_TEXT
    return Fault(pointer, code, f"expected {expected}, got {kind_of(value)}", hint)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _wrong_width(size: int | str, wanted: int | None, found: int) -> str:
    if type(size) is int:
        return f"expected {_values(size)}, got {found}"
    if wanted is None:
        return "expected at least one value, got none"
    return f"expected {_values(wanted)} as in the list before, got {found}"


def _values(count: int | str) -> str:
    return "1 value" if count == 1 else f"{count} values"


def escape(name: str) -> str:
    """Return a name as RFC 6901 writes it in a pointer."""
    return _readable(name[:100]).replace("~", "~0").replace("/", "~1")


def _readable(name: str) -> str:
    """Return a name as a response can have it: without halves of surrogate pairs."""
    return name.encode(errors="replace").decode()
