"""Values as texts: of one column at once, exact, and the same for CSV and JSON."""

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from batchline.files.arrays import (
    from_numpy,
    from_strings,
    mask_of,
    scalar,
    validity,
    values_of,
    without,
)
from batchline.files.blocks import Mask

CONTROL = [bytes([code]) for code in range(32)]
SHORT_ESCAPES = {b"\n": "\\n", b"\r": "\\r", b"\t": "\\t"}


def plain_text(array: pa.Array) -> pa.Array:
    """Return texts of values that are neither nested nor binary. Null stays null.

    A float is the shortest text that reads back equal, with at least one decimal or an exponent.
    """
    type_ = array.type
    if pa.types.is_dictionary(type_):
        return plain_text(array.dictionary).take(array.indices)
    if pa.types.is_floating(type_):
        return _floats(array)
    if pa.types.is_string(type_):
        return array
    return array.cast(pa.string())


def json_text(array: pa.Array) -> pa.Array:
    """Return values as JSON. Null, NaN and infinity are `null`."""
    type_ = array.type
    if pa.types.is_dictionary(type_):
        found = json_text(array.dictionary).take(array.indices)
    elif pa.types.is_map(type_):
        return json_text(array.cast(pa.list_(pa.struct([type_.key_field, type_.item_field]))))
    elif pa.types.is_list(type_) or is_list(type_):
        found = _lists(array)
    elif pa.types.is_struct(type_):
        found = _structs(array)
    elif pa.types.is_floating(type_):
        finite = mask_of(pc.is_finite(array))
        found = _floats(without(array, ~finite))
    elif pa.types.is_integer(type_) or pa.types.is_boolean(type_) or pa.types.is_decimal(type_):
        found = array.cast(pa.string())
    else:
        found = join(b'"', escaped(plain_text(array)), b'"')
    return pc.fill_null(found, scalar(b"null").cast(pa.string()))


def is_list(type_: pa.DataType) -> bool:
    checks = pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list
    return any(check(type_) for check in checks)


def is_nested(type_: pa.DataType) -> bool:
    return bool(pa.types.is_nested(type_))


def has_text(type_: pa.DataType) -> bool:
    """Whether values of this type can be written as text. Bytes cannot."""
    if pa.types.is_dictionary(type_):
        return has_text(type_.value_type)
    if is_nested(type_):
        return all(has_text(type_.field(place).type) for place in range(type_.num_fields))
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_):
        return False
    try:
        pa.nulls(0, type_).cast(pa.string())
    except pa.ArrowNotImplementedError:
        return False
    return not pa.types.is_fixed_size_binary(type_)


def join(*parts: pa.Array | bytes) -> pa.Array:
    """Return the parts of each row as one text, or null if one of them is null."""
    type_ = next(part.type for part in parts if isinstance(part, pa.Array))
    texts = [scalar(each).cast(type_) if isinstance(each, bytes) else each for each in parts]
    return pc.binary_join_element_wise(*texts, scalar(b"").cast(type_))


def characters(texts: pa.Array) -> bytes:
    """Return all texts one behind the other, and perhaps more."""
    data = texts.buffers()[2]
    return data.to_pybytes() if data is not None else b""


def escaped(texts: pa.Array) -> pa.Array:
    found = characters(texts)
    if b"\\" in found:
        texts = pc.replace_substring(texts, "\\", "\\\\")
    if b'"' in found:
        texts = pc.replace_substring(texts, '"', '\\"')
    if found and np.frombuffer(found, np.uint8).min() < 32:
        for character in CONTROL:
            if character in found:
                escape = SHORT_ESCAPES.get(character, f"\\u{character[0]:04x}")
                texts = pc.replace_substring(texts, character.decode(), escape)
    return texts


def _floats(array: pa.Array) -> pa.Array:
    """Return floats as texts. orjson is twice as fast as pyarrow, and mostly writes the same."""
    values = values_of(array)
    alike = is_written_alike(values)
    if alike is None or not len(values):
        return _floats_of_pyarrow(array)
    if alike.all():
        return without(_written(values), ~validity(array))
    texts = _written(np.where(alike, values, np.zeros(1, values.dtype)))
    others = _floats_of_pyarrow(array.filter(from_numpy(~alike, pa.bool_())))
    texts = pc.replace_with_mask(texts, from_numpy(~alike, pa.bool_()), others)
    return without(texts, ~validity(array))


def is_written_alike(values: NDArray[Any]) -> Mask | None:
    """Return which floats orjson writes as pyarrow does, or None if it knows nothing of them.

    They differ in when a large or a small number gets an exponent.
    """
    if values.dtype == np.float16:
        return None
    sizes = np.abs(values)
    with_exponent = (sizes >= 1e9) & (sizes < 1e18)
    if values.dtype == np.float64:
        with_exponent |= (sizes >= 1e-7) & (sizes < 1e-4)
    found: Mask = np.isfinite(values) & ~with_exponent
    return found


def _written(values: NDArray[Any]) -> pa.Array:
    """Return what orjson writes, cut apart at the commas."""
    data = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)
    commas = np.flatnonzero(np.frombuffer(data, np.uint8) == ord(","))
    count = len(values)
    offsets = np.empty(2 * count + 1, np.int32)
    offsets[0], offsets[-2], offsets[-1] = 1, len(data) - 1, len(data)
    offsets[1:-2:2], offsets[2:-1:2] = commas, commas + 1
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    between = pa.Array.from_buffers(pa.string(), 2 * count, buffers)
    return between.take(from_numpy(np.arange(0, 2 * count, 2), pa.int32()))


def _floats_of_pyarrow(array: pa.Array) -> pa.Array:
    texts = array.cast(pa.string())
    values = values_of(array)
    whole = np.flatnonzero(values == np.rint(values))
    if not len(whole):
        return texts
    bare = ~mask_of(pc.match_substring_regex(texts.take(from_numpy(whole, pa.int64())), "[.en]"))
    decimals = np.zeros(len(texts), np.int8)
    decimals[whole[bare]] = 1
    return join(texts, from_strings(["", ".0"]).take(from_numpy(decimals, pa.int8())))


def _lists(array: pa.Array) -> pa.Array:
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    items = json_text(array.values)
    maker = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    texts = maker.from_arrays(array.offsets, items)
    joined = pc.binary_join(texts, scalar(b",").cast(pa.string()))
    return without(join(b"[", joined, b"]"), mask_of(array.is_null()))


def _structs(array: pa.Array) -> pa.Array:
    parts: list[pa.Array | bytes] = []
    for place, value in enumerate(array.flatten()):
        parts += [
            b"," if place else b"{",
            json_name(array.type.field(place).name),
            json_text(value),
        ]
    found = join(*parts, b"}") if parts else pc.fill_null(array.cast(pa.string()), "{}")
    return without(found, mask_of(array.is_null()))


def json_name(name: str) -> bytes:
    import json

    return json.dumps(name, ensure_ascii=False).encode() + b":"
