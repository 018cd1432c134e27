"""Arrow arrays from numpy's and back.

pyarrow imports pandas, if it is installed, as soon as it converts a Python value. That takes
almost a second, so arrays are made of buffers here.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchline.files.blocks import Mask


def from_numpy(values: NDArray[Any], type_: pa.DataType, valid: Mask | None = None) -> pa.Array:
    """Return an array of numbers or booleans. Values that are not `valid` are null."""
    if pa.types.is_boolean(type_):
        data = pa.py_buffer(np.packbits(values.astype(bool), bitorder="little"))
    else:
        data = pa.py_buffer(np.ascontiguousarray(values, type_.to_pandas_dtype()))
    return pa.Array.from_buffers(type_, len(values), [_bits(valid), data])


def from_strings(values: list[str | None], type_: pa.DataType | None = None) -> pa.Array:
    """Return an array of texts."""
    encoded = [b"" if value is None else value.encode() for value in values]
    valid = np.array([value is not None for value in values], bool)
    return from_bytes(encoded, type_ or pa.string(), valid)


def from_bytes(values: list[bytes], type_: pa.DataType, valid: Mask | None = None) -> pa.Array:
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    buffers = [_bits(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(type_, len(values), buffers)


def scalar(value: bytes) -> pa.Scalar:
    return from_bytes([value], pa.binary())[0]


def _bits(valid: Mask | None) -> pa.Buffer | None:
    if valid is None or valid.all():
        return None
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def validity(array: pa.Array) -> Mask:
    """Return where an array is not null."""
    return mask_of(pc.is_valid(array))


def mask_of(array: pa.Array) -> Mask:
    """Return an array of booleans as a mask. Nulls are false."""
    filled = array.fill_null(False) if array.null_count else array
    found: Mask = filled.to_numpy(zero_copy_only=False)
    return found


def spread(array: pa.Array, rows: Mask) -> pa.Array:
    """Return the values at the true positions of a mask, in their order, and null elsewhere."""
    if rows.all():
        return array
    positions = np.cumsum(rows) - 1
    return array.take(from_numpy(np.maximum(positions, 0), pa.int64(), rows))


def without(array: pa.Array, rows: Mask) -> pa.Array:
    """Return the same values, but null at the true positions of a mask."""
    if not rows.any():
        return array
    positions = np.arange(len(array))
    return array.take(from_numpy(positions, pa.int64(), ~rows))


def single(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def values_of(array: pa.Array) -> NDArray[Any]:
    """Return the numbers of an array. The values at nulls have no meaning."""
    found = np.frombuffer(array.buffers()[1], array.type.to_pandas_dtype())
    return found[array.offset : array.offset + len(array)]


def nothing(rows: int, type_: pa.DataType) -> pa.Array:
    return pa.nulls(rows, type_)
