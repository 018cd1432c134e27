"""Read an ONNX file's graph, which ONNX Runtime does not expose.

This takes a few fields of the format, onnx.proto3. The package onnx would be ten times as large as
everything else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from struct import iter_unpack

from batchline.ml.protobuf import read_fields, read_varint

Labels = tuple[str, ...]


GRAPH, NODE, INITIALIZER, INPUT, OUTPUT = 7, 1, 5, 11, 12
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH = 1, 2, 3, 5, 6
ATTRIBUTE_FLOATS, ATTRIBUTE_INTS, ATTRIBUTE_STRINGS, ATTRIBUTE_GRAPHS = 7, 8, 9, 11
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW = 1, 2, 8, 9
TENSOR_INT32S, TENSOR_STRINGS, TENSOR_INT64S = 5, 6, 7
VALUE_NAME, VALUE_TYPE, TYPE_TENSOR, TENSOR_SHAPE = 1, 2, 1, 2
WORD_BYTES = {6: 4, 7: 8}
"""Bytes of a number by type: int32 and int64."""


@dataclass(frozen=True)
class Node:
    """A node of the graph: its operator, the names of its tensors, and its attributes by name."""

    operator: str
    inputs: Labels
    outputs: Labels
    attributes: dict[str, bytes]
    domain: str = ""

    @property
    def class_labels(self) -> Labels:
        """Return the class labels of a classifier's node, or ()."""
        for name, attribute in self.attributes.items():
            if name.startswith("classlabels_"):
                return _of_attribute(attribute)
        return ()

    @property
    def has_subgraphs(self) -> bool:
        """Whether it is a loop or a condition, which may read any tensor of the graph."""
        return any(True for _ in self._subgraphs())

    @cached_property
    def captured(self) -> frozenset[str]:
        """Return all names of tensors in its subgraphs, some of which are of the graph around."""
        return frozenset(name for graph in self._subgraphs() for name in _names_in(graph))

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is an integer."""
        return next(iter(_integers(self.attributes.get(name, b""), ATTRIBUTE_INT)), default)

    def integers(self, name: str) -> tuple[int, ...]:
        """Return an attribute that is a list of integers, or a tensor of them, or ()."""
        return tuple(map(int, _of_attribute(self.attributes.get(name, b""))))

    def floats(self, name: str) -> tuple[float, ...]:
        """Return an attribute that is one float or a list of them, or ()."""
        attribute = self.attributes.get(name, b"")
        packed = b"".join(
            part
            for number in (ATTRIBUTE_FLOAT, ATTRIBUTE_FLOATS)
            for part in all_of(attribute, number)
        )
        return tuple(number for (number,) in iter_unpack("<f", packed[: len(packed) // 4 * 4]))

    def strings(self, name: str) -> Labels:
        """Return an attribute that is a list of strings, or ()."""
        return texts(self.attributes.get(name, b""), ATTRIBUTE_STRINGS)

    def _subgraphs(self) -> Iterator[bytes]:
        for attribute in self.attributes.values():
            for number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                yield from all_of(attribute, number)


@dataclass(frozen=True)
class Graph:
    """The nodes of a model, the values of its constants by name, and the names of its outputs.

    `shapes` are those of the constants. `unranked` are the inputs without a shape, which ONNX
    Runtime shows like scalars.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Labels] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Labels = ()
    unranked: frozenset[str] = frozenset()

    @cached_property
    def producers(self) -> dict[str, Node]:
        """Return the node of each tensor that a node makes."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def read_graph(content: bytes) -> Graph:
    """Return the graph of a model that ONNX Runtime can load. It is empty if there is none."""
    message = next(all_of(content, GRAPH), b"")
    nodes = [_node(each) for each in all_of(message, NODE)]
    constants, shapes = {}, {}
    for tensor in all_of(message, INITIALIZER):
        for name in texts(tensor, TENSOR_NAME):
            constants[name], shapes[name] = _of_tensor(tensor), _shape(tensor)
    for node in nodes:
        if node.operator == "Constant" and node.outputs:
            value = next(iter(node.attributes.values()), b"")
            constants[node.outputs[0]] = _of_attribute(value)
            shapes[node.outputs[0]] = _shape_of_attribute(value)
    values = list(all_of(message, INPUT))
    unranked = {name for each in values if not _has_shape(each) for name in texts(each, VALUE_NAME)}
    unranked -= constants.keys()  # their default value has a shape
    outputs = tuple(name for each in all_of(message, OUTPUT) for name in texts(each, VALUE_NAME))
    return Graph(nodes, constants, shapes, outputs, frozenset(unranked))


def _has_shape(value: bytes) -> bool:
    """Whether an input has a shape, or is no tensor."""
    types = [kind for each in all_of(value, VALUE_TYPE) for kind in all_of(each, TYPE_TENSOR)]
    return all(any(number == TENSOR_SHAPE for number, _ in read_fields(each)) for each in types)


def _node(message: bytes) -> Node:
    attributes = {
        next(iter(texts(attribute, ATTRIBUTE_NAME)), ""): attribute
        for attribute in all_of(message, NODE_ATTRIBUTE)
    }
    operator = next(iter(texts(message, NODE_OPERATOR)), "")
    inputs, outputs = texts(message, NODE_INPUT), texts(message, NODE_OUTPUT)
    domain = next(iter(texts(message, NODE_DOMAIN)), "")
    return Node(operator, inputs, outputs, attributes, domain)


def _names_in(graph: bytes) -> Iterator[str]:
    for node in map(_node, all_of(graph, NODE)):
        yield from node.inputs
        yield from node.captured
    for value in all_of(graph, OUTPUT):
        yield from texts(value, VALUE_NAME)


def _of_attribute(attribute: bytes) -> Labels:
    for tensor in all_of(attribute, ATTRIBUTE_TENSOR):
        return _of_tensor(tensor)
    numbers = _numbers(attribute, ATTRIBUTE_INTS) or _numbers(attribute, ATTRIBUTE_INT)
    return texts(attribute, ATTRIBUTE_STRINGS) or numbers


def _shape_of_attribute(attribute: bytes) -> tuple[int, ...]:
    for tensor in all_of(attribute, ATTRIBUTE_TENSOR):
        return _shape(tensor)
    fields = [number for number, _ in read_fields(attribute)]
    is_list = bool({ATTRIBUTE_FLOATS, ATTRIBUTE_INTS, ATTRIBUTE_STRINGS} & set(fields))
    return (len(_of_attribute(attribute)),) if is_list else ()


def _shape(tensor: bytes) -> tuple[int, ...]:
    return _integers(tensor, TENSOR_DIMS)


def _of_tensor(tensor: bytes) -> Labels:
    fields = dict(read_fields(tensor))
    kind, raw = fields.get(TENSOR_TYPE), fields.get(TENSOR_RAW)
    if isinstance(kind, int) and kind in WORD_BYTES and isinstance(raw, bytes):
        size = WORD_BYTES[kind]
        words = (raw[start : start + size] for start in range(0, len(raw), size))
        return tuple(str(int.from_bytes(word, "little", signed=True)) for word in words)
    numbers = _numbers(tensor, TENSOR_INT64S) or _numbers(tensor, TENSOR_INT32S)
    return texts(tensor, TENSOR_STRINGS) or numbers


def texts(message: bytes, number: int) -> Labels:
    """Return the strings in the fields with this number."""
    return tuple(text.decode(errors="replace") for text in all_of(message, number))


def _numbers(message: bytes, number: int) -> Labels:
    return tuple(map(str, _integers(message, number)))


def _integers(message: bytes, number: int) -> tuple[int, ...]:
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
    return tuple(one - 2**64 if one >= 2**63 else one for one in found)


def all_of(message: bytes, number: int) -> Iterator[bytes]:
    """Return the contents of the fields with this number."""
    for each, value in read_fields(message):
        if each == number and isinstance(value, bytes):
            yield value
