"""Find out from a graph where an output comes from. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from batchline.ml.examination.onnx_file import Graph, Labels, Node

PASSING = {"Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"}
"""These operators keep all entries in their order."""
RESCALING = {"Normalizer", "Softmax", "Mul", "Div"}
"""Operators that keep the classes in their columns."""
TAKING = {"ArrayFeatureExtractor", "Gather"}
"""Operators that take entries of their first input by the indexes in the second."""
CLASSIFIERS = {"TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier"}
"""These operators of ai.onnx.ml return a label and a score per class."""
QUANTIZING = {
    "DynamicQuantizeLinear",
    "DynamicQuantizeMatMul",
    "DynamicQuantizeLSTM",
    "MatMulIntegerToFloat",
}
"""Operators that round a row's numbers by the range of all rows of the call."""


class Role(StrEnum):
    """The role of an output, if its graph says so."""

    LABEL = "label"
    SCORES = "scores"


@dataclass(frozen=True, slots=True)
class Source:
    """The role of an output, and the class names that come with it, in the model's order."""

    role: Role
    names: Labels


def source_of(graph: Graph, output: str) -> Source | None:
    """Return the role of an output that comes from a classifier, a ZipMap or an ArgMax."""
    name, node = _walk(graph, output, PASSING)
    if node is None:
        return None
    if node.operator in CLASSIFIERS and node.outputs.index(name) == 0:
        return Source(Role.LABEL, node.class_labels)
    if node.operator in TAKING and (labels := _taken_at_arg_max(graph, node)):
        return Source(Role.LABEL, labels)
    if node.operator == "ZipMap":
        return Source(Role.SCORES, node.class_labels)
    name, node = _walk(graph, output, PASSING | RESCALING)
    if node is not None and node.operator in CLASSIFIERS and name in node.outputs[1:]:
        return Source(Role.SCORES, node.class_labels)
    return None


def is_computed_with(graph: Graph, label: str, scores: str) -> bool:
    """Whether a label output is computed from what the scores of the classes come from.

    It is so if the scores come from no node, of which nothing else can be known.
    """
    _, origin = _walk(graph, scores, PASSING | RESCALING | {"ZipMap"})
    return origin is None or any(node is origin for node in _ancestors(graph, label))


def class_labels(graph: Graph, length: int) -> set[Labels]:
    """Return the lists of so many class labels in the graph."""
    return {labels for labels in _all_labels(graph) if len(labels) == length}


def constant_outputs(graph: Graph) -> frozenset[str]:
    """Return the outputs that are computed from constants alone."""
    return frozenset(name for name in graph.outputs if _is_constant(graph, name))


def quantizes(graph: Graph) -> bool:
    """Whether the numbers of a row depend slightly on the other rows of the call."""
    return any(node.operator in QUANTIZING for node in graph.nodes)


def _all_labels(graph: Graph) -> Iterator[Labels]:
    for node in graph.nodes:
        yield node.class_labels
        if node.operator in TAKING:
            yield _taken_at_arg_max(graph, node)


def _taken_at_arg_max(graph: Graph, node: Node) -> Labels:
    """Return the constant from which this node takes the entry at an ArgMax, or ()."""
    if len(node.inputs) != 2:
        return ()
    data, _ = _walk(graph, node.inputs[0], PASSING)
    _, index = _walk(graph, node.inputs[1], PASSING)
    if index is None or index.operator != "ArgMax":
        return ()
    return graph.constants.get(data, ())


def _walk(graph: Graph, name: str, through: set[str]) -> tuple[str, Node | None]:
    """Go back through these operators. Return the tensor at which they end, and its node."""
    for _ in range(len(graph.nodes)):  # a valid graph has no cycle
        node = graph.producers.get(name)
        if node is None or node.operator not in through or not node.inputs:
            break
        name = node.inputs[0]
    return name, graph.producers.get(name)


def _is_constant(graph: Graph, output: str) -> bool:
    """Whether all that an output is computed from is constant, and none of it random."""
    nodes = list(_ancestors(graph, output))
    known = {*graph.constants, *(name for node in nodes for name in node.outputs), ""}
    needed = {output, *(name for node in nodes for name in node.inputs)}
    return needed <= known and not any(
        node.has_subgraphs or node.operator.startswith(("Random", "Bernoulli")) for node in nodes
    )


def _ancestors(graph: Graph, output: str) -> Iterator[Node]:
    """Return the nodes from which an output is computed."""
    names, seen = [output], set[str]()
    while names:
        name = names.pop()
        node = graph.producers.get(name)
        if node is None or name in seen:
            continue
        seen.update(node.outputs)
        yield node
        names += node.inputs
