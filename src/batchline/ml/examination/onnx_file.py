"""Read the class labels in an ONNX file, which ONNX Runtime does not expose.

Classifiers have them as attributes (`classlabels_strings`, `classlabels_int64s` and others), or as
a constant from which ArrayFeatureExtractor or Gather takes the entry at an ArgMax. Other lists of
the right length, such as a Reshape's shape, say nothing about classes. Reading them takes these few
fields of the format (onnx.proto3, and Protocol Buffers' encoding). The package onnx would be ten
times as large as everything else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from batchline.ml.protobuf import read_fields, read_varint

Labels = tuple[str, ...]


GRAPH, NODE, INITIALIZER = 7, 1, 5
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_TENSOR, ATTRIBUTE_INTS, ATTRIBUTE_STRINGS = 1, 5, 8, 9
TENSOR_TYPE, TENSOR_STRINGS, TENSOR_INT64S, TENSOR_NAME, TENSOR_RAW = 2, 6, 7, 8, 9
INT64 = 7

PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
"""Operators whose result has the same entries in the same order."""
TAKING = {"ArrayFeatureExtractor", "Gather"}
"""Operators that take entries of their first input by the indexes in the second."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph: its operator, the names of its tensors, and its attributes by name."""

    operator: str
    inputs: Labels
    outputs: Labels
    attributes: dict[str, bytes]


def class_labels(content: bytes, length: int) -> set[Labels]:
    """Return the lists of so many class labels in a model that ONNX Runtime can load."""
    found = {labels for graph in _all(content, GRAPH) for labels in _class_labels(graph)}
    return {labels for labels in found if len(labels) == length}


def _class_labels(graph: bytes) -> Iterator[Labels]:
    nodes = [_node(message) for message in _all(graph, NODE)]
    producers = {name: node for node in nodes for name in node.outputs}
    tensors = list(_all(graph, INITIALIZER))
    constants = {
        name: _of_tensor(tensor) for tensor in tensors for name in _texts(tensor, TENSOR_NAME)
    }
    for node in nodes:
        for name, attribute in node.attributes.items():
            if name.startswith("classlabels_"):
                yield _texts(attribute, ATTRIBUTE_STRINGS) or _numbers(attribute, ATTRIBUTE_INTS)
            if node.operator == "Constant" and node.outputs:
                constants[node.outputs[0]] = _of_attribute(attribute)
    for node in nodes:
        if node.operator in TAKING and len(node.inputs) == 2:
            data, indexes = (_source(name, producers) for name in node.inputs)
            if indexes in producers and producers[indexes].operator == "ArgMax":
                yield constants.get(data, ())


def _source(name: str, producers: dict[str, Node]) -> str:
    """Return the tensor that operators without an effect on its entries made this one from."""
    for _ in range(len(producers)):  # a valid graph has no cycle
        node = producers.get(name)
        if node is None or node.operator not in PASSING or not node.inputs:
            break
        name = node.inputs[0]
    return name


def _node(message: bytes) -> Node:
    attributes = {
        next(iter(_texts(attribute, ATTRIBUTE_NAME)), ""): attribute
        for attribute in _all(message, NODE_ATTRIBUTE)
    }
    operator = next(iter(_texts(message, NODE_OPERATOR)), "")
    return Node(operator, _texts(message, NODE_INPUT), _texts(message, NODE_OUTPUT), attributes)


def _of_attribute(attribute: bytes) -> Labels:
    for tensor in _all(attribute, ATTRIBUTE_TENSOR):
        return _of_tensor(tensor)
    return _texts(attribute, ATTRIBUTE_STRINGS) or _numbers(attribute, ATTRIBUTE_INTS)


def _of_tensor(tensor: bytes) -> Labels:
    fields = dict(read_fields(tensor))
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
    for each, value in read_fields(message):
        if each == number and isinstance(value, int):
            found.append(value)
        elif each == number and isinstance(value, bytes):
            place = 0
            while place < len(value):
                one, place = read_varint(value, place)
                found.append(one)
    return tuple(str(one - 2**64 if one >= 2**63 else one) for one in found)


def _all(message: bytes, number: int) -> Iterator[bytes]:
    for each, value in read_fields(message):
        if each == number and isinstance(value, bytes):
            yield value
