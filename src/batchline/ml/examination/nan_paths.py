"""Follow each feature through a graph, to the operators that get its values. Pure.

A missing value is NaN for the model. Some operators know what it means. Most do not, and make of it
a number that means nothing. So a feature may be missing only if each of its paths ends at an
operator that knows missing values, and at least one does.
"""

from collections.abc import Iterator, Sequence

from batchline.ml.examination.carried import NONE, NOTHING, Carried, Feature, Features
from batchline.ml.examination.nan_operators import effect
from batchline.ml.examination.onnx_file import Graph, Node
from batchline.ml.inputs import FLOATS, Input

KNOWING = {"Imputer", "IsNaN", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "TreeEnsemble"}
"""The operators that can know missing values."""


def shown_missing(graph: Graph, inputs: Sequence[Input], *, axis: bool) -> dict[str, list[bool]]:
    """Return by input which values of a row may be missing, as far as the graph shows it.

    There is one flag for each value of rows `[n]`, and one for all values of other rows. Only
    inputs of floats that are given per row have flags.

    Args:
        axis: whether the inputs have a batch dimension.
    """
    given = {each.name: _carried(each, axis=axis) for each in inputs}
    known = _known(graph, given) if any(node.operator in KNOWING for node in graph.nodes) else NONE
    return {
        each.name: [
            (each.name, place) in known for place in range(len(given[each.name].columns or (0,)))
        ]
        for each in inputs
        if each.dtype in FLOATS and not each.per_item
    }


def _carried(given: Input, *, axis: bool) -> Carried:
    """Return what an input carries: its own features."""
    is_float = given.dtype in FLOATS and not given.per_item
    width = given.shape[0] if given.shape else 1
    is_row = axis and not given.per_item and not given.axis and len(given.shape) < 2
    if not is_row or isinstance(width, str):
        return Carried(anywhere=frozenset([(given.name, 0)])) if is_float else NOTHING
    columns = tuple(
        frozenset([(given.name, place)]) if is_float else NONE for place in range(width)
    )
    return Carried(columns, is_vector=not given.shape)


def _known(graph: Graph, given: dict[str, Carried]) -> Features:
    """Return the features whose missing values are known wherever they come."""
    carried = {"": NOTHING, **given, **dict.fromkeys(graph.constants, NOTHING)}
    tensors = carried.keys() | graph.producers.keys()
    known, failed = set[Feature](), set[Feature]()
    for node in _live(graph):
        names = {*node.inputs, *(node.captured & tensors)}
        if not names <= carried.keys():
            return NONE  # the nodes are not in their order, or a constant is of an unknown kind
        found = effect(node, [carried[name] for name in node.inputs], graph)
        known |= found.known
        failed |= found.failed
        for name in node.captured & tensors:
            failed |= _values(carried[name])
        outputs = [*found.outputs, *[NOTHING] * len(node.outputs)]
        carried |= dict(zip(node.outputs, outputs, strict=False))
    for name in graph.outputs:
        failed |= _values(carried.get(name, NOTHING))
    return frozenset(known - failed)


def _values(carried: Carried) -> Features:
    return NONE if carried.checked else carried.features


def _live(graph: Graph) -> Iterator[Node]:
    """Return the nodes that an output depends on, in their order."""
    needed = set(graph.outputs)
    live = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            live.append(node)
            needed.update(node.inputs, node.captured)
    return reversed(live)
