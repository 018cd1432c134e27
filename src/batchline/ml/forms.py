"""Read rows in any form into a table. Pure.

An item's data has one of these forms, here for a model with the features age and job:

- lists: `[[47, 1], [50, 2]]`, for a model with one input
- records: `[{"age": 47, "job": 1}, {"age": 50, "job": 2}]`
- one record: `{"age": 47, "job": 1}`
- columns: `{"age": [47, 50], "job": [1, 2]}`
- inputs by name: `{"x": [[47, 1], [50, 2]]}`, with the rows of each input

The names of a record are the features, or else the inputs. Readers check only the structure, for
many items at once, which is fast. They return None if anything may be wrong, or if rows have
different shapes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from itertools import chain
from operator import itemgetter
from typing import Any

import orjson

from batchline.constants import MAX_ROWS_PER_ITEM
from batchline.ml.inputs import Input
from batchline.ml.signature import Signature
from batchline.ml.table import Column, Table, tensors


class Form(Enum):
    """The forms of an item's data."""

    LISTS = auto()
    RECORDS = auto()
    RECORD = auto()
    COLUMNS = auto()
    INPUTS = auto()


Rows = tuple[Table, list[int]]
"""A table, and the number of rows of each item."""


def form_of(data: Any, signature: Signature) -> Form | None:
    """Return the form of an item's data, or None if it has none of them."""
    if type(data) is list:
        if signature.has_records and data and type(data[0]) is dict:
            return Form.RECORDS
        return Form.LISTS if signature.is_plain else None
    if type(data) is not dict:
        return None
    if not signature.has_records:
        return Form.INPUTS
    if signature.features is not None and not _are_inputs(data, signature):
        first = next((data[name] for name in signature.names if name in data), None)
        return Form.COLUMNS if type(first) is list else Form.RECORD
    for each in signature.inputs:
        if each.name in data:
            return Form.RECORD if _is_row(data[each.name], each) else Form.INPUTS
    return Form.RECORD if signature.features is not None else Form.INPUTS


def _are_inputs(data: Mapping[str, Any], signature: Signature) -> bool:
    """Whether this is the input by its name, although its features have names too."""
    name = signature.inputs[0].name
    return data.keys() == {name} and (name not in signature.names or _depth(data[name]) > 1)


def _is_row(value: Any, of: Input) -> bool:
    """Whether this is the value of one row, and not a list of rows."""
    depth = _depth(value)
    return depth == 0 if of.takes_bare_values else depth <= len(of.shape)


def _depth(value: Any) -> int:
    depth = 0
    while type(value) is list:
        value = value[0] if value else None
        depth += 1
    return depth


def read(items: Sequence[Any], signature: Signature) -> Rows | None:
    """Read items, all of them in the form of the first one."""
    form = form_of(items[0], signature)
    return None if form is None else READERS[form](items, signature)


def accepts(items: Sequence[Any], signature: Signature) -> bool:
    """Whether the model accepts all of these items. False can also mean that it cannot tell."""
    found = read(items, signature)
    return found is not None and tensors(found[0], signature)[1] is None


def split_rows(data: Any, signature: Signature) -> list[Any]:
    """Return an item for each row of an item that `faults` found nothing wrong with."""
    if type(data) is list:
        return [[row] for row in data]
    names = [each.name for each in signature.row_inputs]
    return [
        data | {name: data[name][row : row + 1] for name in names}
        for row in range(len(data[names[0]]))
    ]


def stored_form(data: Any, signature: Signature) -> Any:
    """Return valid data as it is stored: the rows of a model's only input as a list."""
    if type(data) is dict and signature.is_plain and form_of(data, signature) is Form.INPUTS:
        return data[signature.inputs[0].name]
    return data


def stored_forms(items: list[Any], signature: Signature) -> list[Any]:
    """Return the same for items that `accepts` accepts, which all have the form of the first."""
    if stored_form(items[0], signature) is items[0]:
        return items
    return [stored_form(data, signature) for data in items]


def without_extra(data: Any, signature: Signature) -> Any:
    """Return an item's data without the names that the model does not have."""
    if type(data) is list:
        return [without_extra(row, signature) if type(row) is dict else row for row in data]
    if type(data) is not dict:
        return data
    names: Sequence[str] = signature.names
    if not any(name in data for name in names):
        names = [each.name for each in signature.inputs]
    return {name: data[name] for name in names if name in data}


def _of_lists(items: Sequence[Any], signature: Signature) -> Rows | None:
    counts = _counts(items)
    if counts is None:
        return None
    of = signature.inputs[0]
    column = _flat(list(chain.from_iterable(items)), of)
    return None if column is None else (Table({of.name: column}, sum(counts)), counts)


def _of_records(items: Sequence[Any], signature: Signature) -> Rows | None:
    counts = _counts(items)
    if counts is None:
        return None
    table = _table_of_records(list(chain.from_iterable(items)), signature)
    return None if table is None else (table, counts)


def _of_single_records(items: Sequence[Any], signature: Signature) -> Rows | None:
    table = _table_of_records(items, signature)
    return None if table is None else (table, [1] * len(items))


def _table_of_records(records: Sequence[Any], signature: Signature) -> Table | None:
    names = signature.names
    by_name = _by_name(records, names)
    if by_name is None:
        return None
    if signature.features is not None:
        column = Column(list(chain.from_iterable(by_name)), (len(names),))
        return Table({signature.inputs[0].name: column}, len(records))
    columns = _flat_columns(_transposed(by_name, names), signature)
    return None if columns is None else Table(columns, len(records))


def _of_columns(items: Sequence[Any], signature: Signature) -> Rows | None:
    names = signature.names
    by_name = _by_name(items, names)
    if by_name is None:
        return None
    by_feature = _transposed(by_name, names)
    counts = _common_counts(by_feature.values())
    if counts is None:
        return None
    columns = map(chain.from_iterable, by_feature.values())
    flat = list(chain.from_iterable(zip(*columns, strict=True)))
    return Table({signature.inputs[0].name: Column(flat, (len(names),))}, sum(counts)), counts


def _of_inputs(items: Sequence[Any], signature: Signature) -> Rows | None:
    names = [each.name for each in signature.inputs]
    by_name = _by_name(items, names)
    if by_name is None:
        return None
    by_input = _transposed(by_name, names)
    once = _once(by_input, signature)
    by_row_input = {each.name: by_input[each.name] for each in signature.row_inputs}
    counts = _common_counts(by_row_input.values())
    if counts is None or once is None:
        return None
    rows = {name: list(chain.from_iterable(lists)) for name, lists in by_row_input.items()}
    columns = _flat_columns(rows, signature, once)
    return None if columns is None else (Table(columns, sum(counts), once), counts)


def _once(by_input: Mapping[str, list[Any]], signature: Signature) -> dict[str, Column] | None:
    """Return the inputs that are given once per item, if they are the same for all items."""
    found: dict[str, Column] = {}
    for each in signature.once:
        values = by_input[each.name]
        column = _flat(values[:1], each)
        if column is None or not _are_same(values):
            return None
        found[each.name] = column
    return found


def _are_same(values: Sequence[Any]) -> bool:
    """Whether values are the same as JSON texts. False also if they cannot be written as JSON."""
    try:
        return len(set(map(orjson.dumps, values))) == 1
    except orjson.JSONEncodeError:  # nested too deeply, or half of a surrogate pair
        return False


def _counts(lists: Sequence[Any]) -> list[int] | None:
    """Return the number of rows of each item, if all have a list of rows within the limit."""
    if set(map(type, lists)) != {list}:
        return None
    counts = list(map(len, lists))
    return counts if min(counts) > 0 and max(counts) <= MAX_ROWS_PER_ITEM else None


def _common_counts(columns: Iterable[Sequence[Any]]) -> list[int] | None:
    """Return the number of rows of each item, if it is the same in all columns."""
    found = [_counts(lists) for lists in columns]
    return found[0] if all(counts == found[0] for counts in found) else None


def _by_name(records: Sequence[Any], names: Sequence[str]) -> list[Sequence[Any]] | None:
    """Return each record's values in the order of these names, if it has no others."""
    if set(map(type, records)) != {dict} or set(map(len, records)) != {len(names)}:
        return None
    try:
        if len(names) == 1:
            return [[record[names[0]]] for record in records]
        return list(map(itemgetter(*names), records))
    except KeyError:
        return None


def _transposed(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    """Return all rows' values of each name."""
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _flat_columns(
    levels: Mapping[str, list[Any]], signature: Signature, once: Mapping[str, Column] | None = None
) -> dict[str, Column] | None:
    """Return a column for each input, if dimensions of one name have one size."""
    columns, sizes = dict[str, Column](), dict[str, int]()
    for each in signature.once:
        if once and not each.agrees(once[each.name].dims, sizes):
            return None
    for each in signature.row_inputs:
        column = _flat(levels[each.name], each)
        if column is None or not each.agrees(column.dims, sizes):
            return None
        columns[each.name] = column
    return columns


def _flat(level: list[Any], of: Input) -> Column | None:
    """Return the values of all rows in one list, if all rows have the same shape."""
    if of.takes_bare_values and list not in set(map(type, level)):
        return Column(level, (1,))
    dims = []
    for size in of.shape:
        if set(map(type, level)) != {list}:
            return None
        sizes = set(map(len, level))
        if len(sizes) != 1 or sizes == {0} or (type(size) is int and sizes != {size}):
            return None
        dims.append(sizes.pop())
        level = list(chain.from_iterable(level))
    return Column(level, tuple(dims))


READERS: dict[Form, Callable[[Sequence[Any], Signature], Rows | None]] = {
    Form.LISTS: _of_lists,
    Form.RECORDS: _of_records,
    Form.RECORD: _of_single_records,
    Form.COLUMNS: _of_columns,
    Form.INPUTS: _of_inputs,
}
