"""The floats at the end of CSV lines, all columns at once.

Most of the time for writing a prediction goes into its probabilities. Texts of single columns would
have to be cut out and joined. Here, one text has the floats of all rows in their order, and each
row's part of it ends with a delimiter already.
"""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import orjson
import pyarrow as pa

from batchline.files.arrays import values_of
from batchline.files.value_texts import is_written_alike


def floats_at_end(columns: Sequence[pa.Array]) -> int:
    """Return how many of the last columns are floats of one type."""
    if not columns or not pa.types.is_floating(last := columns[-1].type):
        return 0
    return len(list(takewhile(lambda each: each.type == last, reversed(columns))))


def joined_floats(
    columns: Sequence[pa.Array], delimiter: str, decimal: str, last: bytes
) -> pa.Array | None:
    """Return the floats of each row, with a delimiter behind each of them.

    Args:
        last: what the last row has behind that.

    Returns:
        None if a value is null, or is one that orjson writes in another way than pyarrow. None as
        well if a number may contain the delimiter, since it then needs quotes.
    """
    if delimiter in f"{decimal}+-":
        return None
    values = np.stack([values_of(each) for each in columns], axis=1).ravel()
    alike = is_written_alike(values)
    if any(each.null_count for each in columns) or alike is None or not alike.all():
        return None
    numbers = memoryview(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))[1:-1]
    commas = np.flatnonzero(np.frombuffer(numbers, np.uint8) == ord(","))
    data = b"".join((numbers, b",", last))
    if delimiter + decimal != ",.":
        data = data.translate(bytes.maketrans(b",.", (delimiter + decimal).encode()))
    rows = len(columns[0])
    offsets = np.zeros(rows + 1, np.int32)
    offsets[1:-1], offsets[-1] = commas[len(columns) - 1 :: len(columns)] + 1, len(data)
    return pa.Array.from_buffers(
        pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
