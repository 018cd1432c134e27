"""Rows from Arrow arrays, and predictions as Arrow arrays. Pure.

Only this module of `ml` imports pyarrow, which is an extra.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from batchline.errors import ModelFailed
from batchline.ml.inputs import FLOATS, Input
from batchline.ml.outputs import Distribution, LabelColumn, Predictions
from batchline.ml.signature import Signature
from batchline.ml.table import Column, Mask, Table

LABEL = "label"
PROBABILITY = "probability_"

Arrays = Mapping[str, pa.Array]


def to_table(arrays: Arrays, signature: Signature, rows: int) -> Table:
    """Return rows whose features or inputs are in arrays of the model's own types."""
    if signature.features is None:
        return Table({e.name: _column(arrays[e.name], e) for e in signature.inputs}, rows)
    of = signature.inputs[0]
    flat = [_flat(arrays[name], of) for name in signature.features]
    values = np.stack([values for values, _ in flat], axis=1).ravel()
    absent = None
    if any(mask is not None for _, mask in flat):
        no = np.zeros(rows, bool)
        masks = [no if mask is None else mask for _, mask in flat]
        absent = np.stack(masks, axis=1).ravel()
    return Table({of.name: Column(values, (len(flat),), absent)}, rows)


def _column(array: pa.Array, of: Input) -> Column:
    dims = tuple(size for size in of.shape if type(size) is int)
    if not pa.types.is_fixed_size_list(array.type):
        values, absent = _flat(array, of)
        return Column(values, dims, absent)
    width = array.type.list_size
    inner = array.values.slice(array.offset * width, len(array) * width)
    values, absent = _flat(inner, of)
    if array.null_count:
        nothing = np.repeat(array.is_null().to_numpy(zero_copy_only=False), width)
        if of.dtype in FLOATS:
            values = np.where(nothing, np.nan, values).astype(values.dtype)
        else:
            absent = nothing if absent is None else absent | nothing
    return Column(values, dims, absent)


def _flat(array: pa.Array, of: Input) -> tuple[Any, Mask | None]:
    """Return the values, and where one is absent that cannot be NaN."""
    if of.dtype in FLOATS or not array.null_count:
        return array.to_numpy(zero_copy_only=False), None
    absent = array.is_null().to_numpy(zero_copy_only=False)
    filling = "" if of.dtype == "str" else False if of.dtype == "bool" else 0
    return array.fill_null(filling).to_numpy(zero_copy_only=False), absent


def schema_of(predictions: Predictions) -> pa.Schema:
    """Return the columns that predictions like these become.

    They are `label`, a `probability_…` for each class, and one column for each other output.
    """
    fields = [] if predictions.labels is None else [pa.field(LABEL, pa.string())]
    for name, column in predictions.columns.items():
        if isinstance(column, Distribution):
            fields += [_probability(each, values) for each, values in column.columns.items()]
        else:
            fields.append(pa.field(name, _type_of(column)))
    return pa.schema(fields)


def _probability(label: str, values: Any) -> pa.Field:
    return pa.field(f"{PROBABILITY}{label}", _type_of(values))


def _type_of(column: Any) -> pa.DataType:
    """Return the type of a column. A row with one value in a list becomes that value."""
    if isinstance(column, list) and isinstance(column[0], np.ndarray):
        column = np.stack(column[:1])  # a list that is the same in every call, for example
    if not isinstance(column, np.ndarray):
        return pa.string()  # JSON, for a list of several tensors, for example
    kind: pa.DataType = pa.string() if column.dtype.kind in "OU" else _number(column.dtype)
    nested = column.ndim - 1
    if column.shape[1:] == (1,):
        nested = 0
    for _ in range(nested):
        kind = pa.list_(kind)
    return kind


def _number(dtype: Any) -> pa.DataType:
    try:
        return pa.float32() if dtype == np.float16 else pa.from_numpy_dtype(dtype)
    except pa.ArrowNotImplementedError:
        raise ModelFailed(f"a file cannot hold values of the type {dtype}") from None


def to_arrays(predictions: Predictions, schema: pa.Schema) -> list[pa.Array]:
    """Return the arrays of this schema, with null for each row that failed.

    Raises:
        ModelFailed: the model gave values of another shape than before.
    """
    columns: list[Any] = [] if predictions.labels is None else [predictions.labels]
    for column in predictions.columns.values():
        is_several = isinstance(column, Distribution)
        columns += column.columns.values() if is_several else [column]
    failed = None
    if predictions.failures:
        failed = np.zeros(predictions.rows, bool)
        failed[list(predictions.failures)] = True
    pairs = zip(schema, columns, strict=True)
    return [_array(column, field, failed) for field, column in pairs]


def _array(column: Any, field: pa.Field, failed: Mask | None) -> pa.Array:
    type_ = field.type
    if isinstance(column, LabelColumn):
        return _labels(column, failed)
    if isinstance(column, list) and isinstance(column[0], np.ndarray):
        if len({each.shape for each in column}) == 1:
            column = np.stack(column)
        elif not pa.types.is_list(type_):
            raise ModelFailed(f"the output {field.name} had one value before, and has more now")
    if not isinstance(column, np.ndarray) and pa.types.is_list(type_):
        return pa.array([np.asarray(row).tolist() for row in column], type_, mask=failed)
    if not isinstance(column, np.ndarray):
        return pa.array(list(map(_json, column)), type_, mask=failed)
    if not pa.types.is_list(type_):
        if column.size != len(column):
            shape = list(column.shape[1:])
            raise ModelFailed(f"the output {field.name} had one value before, and has {shape} now")
        return _flat_array(column.reshape(-1), type_, failed)
    nested = _nested(column, type_)
    return nested if failed is None else pa.compute.if_else(pa.array(failed), None, nested)


def _labels(column: LabelColumn, failed: Mask | None) -> pa.Array:
    """Return the names of a small table by their places, which takes no string for each row."""
    absent = column.places < 0
    if failed is not None:
        absent |= failed
    return strings(column.names).take(numbers(column.places, absent))


def _flat_array(values: Any, type_: pa.DataType, absent: Mask | None) -> pa.Array:
    if values.dtype.kind in "fiu" and values.dtype != np.float16:
        return numbers(values, absent).cast(type_)
    return pa.array(values, mask=absent).cast(type_)


def numbers(values: Any, absent: Mask | None = None) -> pa.Array:
    """Return an array of the same numbers, without a copy if they are contiguous.

    pyarrow's own function imports numpy.ma, and pandas if it is installed.
    """
    bits = None
    if absent is not None and absent.any():
        bits = pa.py_buffer(np.packbits(~absent, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [bits, data])


def strings(values: Sequence[str]) -> pa.Array:
    """Return a few texts as an array."""
    encoded = [value.encode() for value in values]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def _nested(column: Any, type_: pa.DataType) -> pa.Array:
    """Return lists whose number and length the shape of the column tells."""
    if not pa.types.is_list(type_):
        return _flat_array(column.reshape(-1), type_, None)
    if column.ndim < 2:
        raise ModelFailed("an output had a list of values before, and has a single value now")
    inner = _nested(column.reshape(-1, *column.shape[2:]), type_.value_type)
    offsets = np.arange(len(column) + 1, dtype=np.int32) * column.shape[1]
    return pa.ListArray.from_arrays(numbers(offsets), inner)


def _json(value: Any) -> str:
    plain = [each.tolist() if isinstance(each, np.ndarray) else each for each in _parts(value)]
    return orjson.dumps(plain if isinstance(value, list) else plain[0]).decode()


def _parts(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
