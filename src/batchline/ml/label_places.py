"""Let a model give the place of each row's class instead of the class's name. Pure.

ONNX Runtime turns each name into a Python string, which is then looked up. Both take a tenth of the
time for rows of a small model, while no other thread can run Python code. Here the graph gets one
more node, which looks the names up. All others stay as they are.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from batchline.ml.protobuf import read_fields, write_bytes, write_integer
from batchline.ml.signature import Signature

PLACE = "batchline:place"
"""The name of the output that is added."""
NOWHERE = -1
"""The place of a name that is none of the classes."""
MAX_BYTES = 64 * 1024 * 1024
"""Larger models would be copied, and spend their time elsewhere."""

DOMAIN = b"ai.onnx.ml"
# Numbers of onnx.proto3.
GRAPH, OPSET = 7, 8
NODE, OUTPUT = 1, 12
STRING, INT64 = 8, 7
OF_INT, OF_INTS, OF_STRINGS = 2, 7, 8
"""The types of attributes."""


def with_places(model: bytes, signature: Signature) -> bytes | None:
    """Return the model with one more output, the place of each label among the classes.

    Return None if its label is no text, or this cannot look it up.
    """
    names = signature.label_values or signature.labels or ()
    if not signature.label or signature.probabilities is None or len({*names}) < len(names):
        return None
    if len(model) > MAX_BYTES or not _is_text(model, signature.label):
        return None
    version = _version(model)
    if not version:
        return None
    # The fields of two messages, one behind the other, are the message with the fields of both.
    node = _node(signature.label, [name.encode() for name in names], version)
    tensor = write_bytes(1, write_integer(1, INT64))
    output = write_bytes(1, PLACE.encode()) + write_bytes(2, tensor)
    return model + write_bytes(GRAPH, write_bytes(NODE, node) + write_bytes(OUTPUT, output))


def with_names(places: Any, names: Any) -> Any:
    """Return places, of which each unknown one is replaced by the name that the model gave."""
    found = places.astype(object)
    unknown = places == NOWHERE
    found[unknown] = names[unknown]
    return found


def known_places(found: Any) -> Any:
    """Return the place of each label of `with_names`."""
    if found.dtype != object:
        return found
    return np.array([NOWHERE if type(each) is str else each for each in found.tolist()], np.int64)


def _node(label: str, names: list[bytes], version: int) -> bytes:
    """Return a LabelEncoder. Its version 1 has other attributes than the later versions."""
    keys = b"".join(write_bytes(9, name) for name in names)
    unknown = write_integer(3, NOWHERE % 2**64)
    attributes = [("default_int64", unknown, OF_INT)]
    if version == 1:
        attributes += [("classes_strings", keys, OF_STRINGS)]
    else:
        values = b"".join(write_integer(8, place) for place in range(len(names)))
        attributes += [("keys_strings", keys, OF_STRINGS), ("values_int64s", values, OF_INTS)]
    return b"".join(
        [
            write_bytes(1, label.encode()),
            write_bytes(2, PLACE.encode()),
            write_bytes(4, b"LabelEncoder"),
            *(
                write_bytes(5, write_bytes(1, name.encode()) + value + write_integer(20, kind))
                for name, value, kind in attributes
            ),
            write_bytes(7, DOMAIN),
        ]
    )


def _version(model: bytes) -> int:
    """Return which version of the operators for machine learning a model uses, or 0."""
    for opset in _all_of(memoryview(model), OPSET):
        if b"".join(_all_of(opset, 1)) == DOMAIN:
            return _integer(opset, 2)
    return 0


def _is_text(model: bytes, label: str) -> bool:
    """Whether an output is a tensor of texts."""
    for graph in _all_of(memoryview(model), GRAPH):
        for output in _all_of(graph, OUTPUT):
            if b"".join(_all_of(output, 1)) == label.encode():
                tensors = [each for kind in _all_of(output, 2) for each in _all_of(kind, 1)]
                return [_integer(each, 1) for each in tensors] == [STRING]
    return False


def _all_of(message: memoryview, number: int) -> Iterator[memoryview]:
    for field, value in read_fields(message):
        if field == number and not isinstance(value, int):
            yield value


def _integer(message: memoryview, number: int) -> int:
    found = (value for field, value in read_fields(message) if field == number)
    value = next(found, 0)
    return value if isinstance(value, int) else 0
