"""Lists of a fixed width, one per row."""

import numpy as np
import pyarrow as pa

from batchline.files.arrays import from_numpy, validity
from batchline.files.blocks import Mask


def fixed_lists(items: pa.Array, width: int, valid: Mask) -> pa.Array:
    """Return lists of `width` items each. Rows that are not `valid` are null."""
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    type_ = pa.list_(items.type, width)
    return pa.Array.from_buffers(type_, len(valid), [bits], children=[items])


def items_of(lists: pa.Array, width: int) -> tuple[pa.Array, Mask]:
    """Return `width` items for each list, one list after the other, and which lists are so wide.

    The items of other lists, and of null, are null.
    """
    if pa.types.is_fixed_size_list(lists.type):
        lists = lists.cast(pa.list_(lists.type.value_type))
    offsets = lists.offsets.to_numpy()
    wide = (np.diff(offsets) == width) & validity(lists)
    places = np.where(wide, offsets[:-1], 0)[:, None] + np.arange(width)
    at = from_numpy(places.ravel(), pa.int64(), np.repeat(wide, width))
    return lists.values.take(at), wide
