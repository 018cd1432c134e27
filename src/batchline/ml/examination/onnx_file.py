"""Read lists of class labels in an ONNX file, which ONNX Runtime does not expose.

Classifiers have them as attributes (`classlabels_strings`, `classlabels_int64s` and others) or as
constants. Reading them takes these few fields of the format (onnx.proto3, and Protocol Buffers'
encoding). The package onnx would be ten times as large as everything else.
"""

from collections.abc import Iterator

Field = tuple[int, int | bytes]


Labels = tuple[str, ...]


GRAPH, NODE, ATTRIBUTE, INITIALIZER = 7, 1, 5, 5


ATTRIBUTE_TENSOR, ATTRIBUTE_INTS, ATTRIBUTE_STRINGS = 5, 8, 9


TENSOR_TYPE, TENSOR_STRINGS, TENSOR_INT64S, TENSOR_RAW = 2, 6, 7, 9


INT64 = 7


VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def lists_of_labels(content: bytes, length: int) -> set[Labels]:
    """Return all lists of so many integers or strings in a model that ONNX Runtime can load."""
    found = {labels for graph in _all(content, GRAPH) for labels in _lists(graph)}
    return {labels for labels in found if len(labels) == length}


def _lists(graph: bytes) -> Iterator[Labels]:
    for tensor in _all(graph, INITIALIZER):
        yield _of_tensor(tensor)
    for node in _all(graph, NODE):
        for attribute in _all(node, ATTRIBUTE):
            yield _texts(attribute, ATTRIBUTE_STRINGS)
            yield _numbers(attribute, ATTRIBUTE_INTS)
            for tensor in _all(attribute, ATTRIBUTE_TENSOR):
                yield _of_tensor(tensor)


def _of_tensor(tensor: bytes) -> Labels:
    fields = dict(_fields(tensor))
    raw = fields.get(TENSOR_RAW)
    if fields.get(TENSOR_TYPE) == INT64 and isinstance(raw, bytes):
        words = (raw[start : start + 8] for start in range(0, len(raw), 8))
        return tuple(str(int.from_bytes(word, "little", signed=True)) for word in words)
    return _texts(tensor, TENSOR_STRINGS) or _numbers(tensor, TENSOR_INT64S)


def _texts(message: bytes, number: int) -> Labels:
    return tuple(text.decode(errors="replace") for text in _all(message, number))


def _numbers(message: bytes, number: int) -> Labels:
    """Return integers, each in a field of its own or all packed into one."""
    found: list[int] = []
    for each, value in _fields(message):
        if each == number and isinstance(value, int):
            found.append(value)
        elif each == number and isinstance(value, bytes):
            place = 0
            while place < len(value):
                one, place = _varint(value, place)
                found.append(one)
    return tuple(str(one - 2**64 if one >= 2**63 else one) for one in found)


def _all(message: bytes, number: int) -> Iterator[bytes]:
    for each, value in _fields(message):
        if each == number and isinstance(value, bytes):
            yield value


def _fields(message: bytes) -> Iterator[Field]:
    """Return the fields of a message: their numbers and values. Stop if it is not a message."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        if key & 7 == VARINT:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        if key & 7 == BYTES:
            size, place = _varint(message, place)
        elif key & 7 in (FIXED32, FIXED64):
            size = 4 if key & 7 == FIXED32 else 8
        else:
            return
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return a number of seven bits per byte, the lowest first, and the position after it."""
    value = shift = 0
    while place < len(message):
        byte = message[place]
        value |= (byte & 127) << shift
        shift, place = shift + 7, place + 1
        if byte < 128:
            break
    return value, place
