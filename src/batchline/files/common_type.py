"""One type for a column that has different types in different files."""

import pyarrow as pa

from batchline.files.value_texts import is_list

TYPE_HINT = "name the other columns: --keep NAME,NAME, or run the command once for each type"


def common_field(*both: pa.Field) -> pa.Field | None:
    """Return a column that holds all values of both as they are, or None.

    Only a time may turn out to be out of the range of a finer unit.
    """
    if any(not _is_category(each.type) for each in both):
        both = tuple(map(_decoded, both))
    schemas = [pa.schema([each]) for each in both]
    try:
        wide = pa.unify_schemas(schemas, promote_options="permissive").field(0)
    except pa.ArrowException:
        return None
    return wide if all(_holds(wide.type, each.type) for each in both) else None


def _is_category(type_: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(type_) or pa.types.is_null(type_))


def _decoded(field: pa.Field) -> pa.Field:
    is_dictionary = pa.types.is_dictionary(field.type)
    return field.with_type(field.type.value_type) if is_dictionary else field


def _holds(wide: pa.DataType, narrow: pa.DataType) -> bool:
    """Whether each value of a type is the same number or text in the wider one.

    A float32 is not: 0.1 would be written as 0.10000000149011612.
    """
    if wide == narrow or pa.types.is_null(narrow):
        return True
    if pa.types.is_struct(wide):
        return [each.name for each in wide] == [each.name for each in narrow] and all(
            _holds(one.type, other.type) for one, other in zip(wide, narrow, strict=True)
        )
    if pa.types.is_dictionary(wide) or is_list(wide):
        return _holds(wide.value_type, narrow.value_type)
    if pa.types.is_integer(wide):
        return bool(pa.types.is_integer(narrow)) and narrow != pa.uint64()
    return any(is_kind(wide) and is_kind(narrow) for is_kind in KINDS)


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


KINDS = (
    _is_text,
    pa.types.is_decimal,
    pa.types.is_date,
    pa.types.is_time,
    pa.types.is_timestamp,
    pa.types.is_duration,
)
"""Kinds of types that pyarrow joins without a loss."""
