"""What operators do with NaN: pass it on, know what it means, or neither. Pure.

An operator that is not listed here does not know missing values, as far as anybody can tell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, prod

from batchline.ml.examination.carried import (
    NONE,
    Carried,
    Features,
    overlaid,
    scattered,
    side_by_side,
)
from batchline.ml.examination.onnx_file import Graph, Node

ML = "ai.onnx.ml"
STANDARD = ("", "ai.onnx")
FLOAT_TYPES = {1, 10, 11, 16}
"""The types of ONNX that have NaN: float, float16, double, bfloat16."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a node does with the features that it gets.

    Args:
        outputs: what its outputs carry; they carry nothing if there are fewer than outputs.
        known: the features whose missing values it knows.
        failed: the features whose missing values it takes for something else.
    """

    outputs: Sequence[Carried] = ()
    known: Features = NONE
    failed: Features = NONE


Handler = Callable[[Node, Sequence[Carried], Graph], Effect]


def effect(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    """Return what a node does with what its inputs carry."""
    domain = "" if node.domain in STANDARD else node.domain
    handler = OPERATORS.get((domain, node.operator), _unknown)
    if handler not in READS_CHECKS:
        given = [each.cleared() if each.checked else each for each in given]
    return handler(node, given, graph)


def _unknown(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    return Effect(failed=scattered(given).anywhere)


def _ignores(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    return Effect()


def _keeps(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    return Effect([given[0]])


def _casts(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    is_float = node.integer("to", 0) in FLOAT_TYPES
    return (_keeps if is_float else _replaces)(node, given, graph)


def _replaces(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    """Another value for each value, and none in particular for NaN."""
    return Effect([given[0].cleared()], failed=given[0].features)


def _combines(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    """Arithmetic of values at the same place: NaN if one of them is."""
    return Effect([overlaid(given) if _aligned(node, given, graph) else scattered(given)])


def _aligned(node: Node, given: Sequence[Carried], graph: Graph) -> bool:
    """Whether all tensors have one layout, or are constants that do not change it."""
    moving = [
        each for name, each in zip(node.inputs, given, strict=True) if name not in graph.shapes
    ]
    if not moving or any(each.columns is None for each in moving):
        return False
    layouts = {(each.is_vector, len(each.columns or ())) for each in moving}
    if len(layouts) != 1:
        return False
    is_vector, width = layouts.pop()
    constants = [graph.shapes[name] for name in node.inputs if name in graph.shapes]
    if is_vector:
        return all(len(shape) < 2 and prod(shape) == 1 for shape in constants)
    return all(
        len(shape) <= 2 and (prod(shape) == 1 or (shape[-1] == prod(shape) == width))
        for shape in constants
    )


# The columns ------------------------------------------------------------------------------------


def _concatenates(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    by_columns = node.integer("axis", 1) in (1, -1)
    return Effect([side_by_side(given) if by_columns else scattered(given)])


def _gathers(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    data, places = given[0], _integers(graph, node.inputs[1])
    shape = graph.shapes.get(node.inputs[1], (0, 0))
    by_columns = node.integer("axis", 0) in (1, -1)
    if places is None:  # nobody knows which values are dropped
        return _unknown(node, given, graph)
    if data.width is None or not by_columns or len(shape) > 1:
        return Effect([scattered(given)])
    return Effect([_taken(data, places, is_vector=shape == ())])


def _extracts(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    places = _integers(graph, node.inputs[1])
    if places is None:
        return _unknown(node, given, graph)
    if given[0].width is None:
        return Effect([scattered(given)])
    return Effect([_taken(given[0], places)])


def _taken(data: Carried, places: Sequence[int], *, is_vector: bool = False) -> Carried:
    width = data.width or 0
    if not all(-width <= place < width for place in places):
        return data.scattered()
    return data.taken(places, is_vector=is_vector)


def _slices(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    parts = [_part(node, graph, name, place) for place, name in enumerate(SLICE, start=1)]
    starts, ends, axes, steps = parts
    if starts is None or ends is None or axes is None or steps is None:
        return _unknown(node, given, graph)
    sizes = len(starts), len(ends), len(steps or [1])
    if given[0].width is None or axes not in ([1], [-1]) or sizes != (1, 1, 1):
        return Effect([scattered(given)])
    step = steps[0] if steps else 1
    return Effect([given[0].taken(range(given[0].width)[starts[0] : ends[0] : step])])


SLICE = ("starts", "ends", "axes", "steps")


def _part(node: Node, graph: Graph, name: str, place: int) -> list[int] | None:
    """Return integers that newer opsets have as an input and older ones as an attribute.

    They are empty if they are left out, and None if they are computed.
    """
    if place < len(node.inputs) and node.inputs[place]:
        return _integers(graph, node.inputs[place])
    return list(node.integers(name))


def _splits(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    width, sizes = given[0].width, _part(node, graph, "split", 1)
    count = len(node.outputs)
    if width is None or sizes is None or node.integer("axis", 0) not in (1, -1):
        return Effect([scattered(given)] * count)
    size = -(-width // count)
    sizes = sizes or [min(size, width - place * size) for place in range(count)]
    if len(sizes) != count or min(sizes) < 0 or sum(sizes) != width:
        return Effect([scattered(given)] * count)
    starts = [sum(sizes[:place]) for place in range(count)]
    parts = [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]
    return Effect([given[0].taken(part) for part in parts])


# The dimensions ---------------------------------------------------------------------------------


def _reshapes(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    shape = _integers(graph, node.inputs[1]) if len(node.inputs) > 1 else None
    return Effect([_reshaped(given[0], shape)])


def _reshaped(data: Carried, shape: list[int] | None) -> Carried:
    count = None if data.columns is None else len(data.columns)
    match shape:
        case [_, width] if width > 0 and width == count:
            return replace(data, is_vector=False)
        case [0, -1] if data.width is not None:
            return data
        case [-1] if count == 1:
            return replace(data, is_vector=True)
        case [_, width] if width > 0 and not data.features:
            return Carried((NONE,) * width)
    return data.scattered()


def _flattens(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    keeps = given[0].width is not None and node.integer("axis", 1) in (1, -1)
    return Effect([given[0] if keeps else given[0].scattered()])


def _squeezes(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    by_column = given[0].width == 1 and _part(node, graph, "axes", 1) in ([1], [-1])
    return Effect([replace(given[0], is_vector=True) if by_column else given[0].scattered()])


def _unsqueezes(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    by_column = given[0].is_vector and _part(node, graph, "axes", 1) in ([1], [-1])
    return Effect([replace(given[0], is_vector=False) if by_column else given[0].scattered()])


def _scatters(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    return Effect([scattered(given)])


# Missing values ---------------------------------------------------------------------------------


def _imputes(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    """Replace NaN by finite numbers, if it is NaN that this Imputer replaces."""
    data, values = given[0], node.floats("imputed_value_floats")
    replaced = node.floats("replaced_value_float")
    if not (values and replaced and isnan(replaced[0])):
        return Effect([data])
    if all(map(isfinite, values)):
        return Effect([data.cleared()], known=data.features)
    if data.width != len(values):
        return Effect([data])
    pairs = list(zip(data.columns or (), map(isfinite, values), strict=True))
    rest = tuple(NONE if is_filled else features for features, is_filled in pairs)
    filled = NONE.union(*(features for features, is_filled in pairs if is_filled))
    return Effect([Carried(rest)], known=filled)


def _decides_by_trees(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    """Trees know a feature's missing values if at least one node that tests it tracks them.

    NaN is greater than no number and less than none, so a node that does not track it goes to its
    false branch: an exporter writes 0 both if that is the right one and if it knows of no missing
    values. Leaves have a feature, too, which says nothing.
    """
    data, tests = given[0], _tests(node)
    if data.columns is None:
        features = data.features
        knows = bool(tests) and all(tests.values()) and len(features) == 1
        return Effect(known=features) if knows else Effect(failed=features)
    tested = {place: each for place, each in enumerate(data.columns) if each and place in tests}
    known = NONE.union(*(each for place, each in tested.items() if tests[place]))
    failed = NONE.union(*(each for place, each in tested.items() if not tests[place]))
    return Effect(known=known, failed=failed)


def _tests(node: Node) -> dict[int, bool]:
    """Return the columns that trees test, and whether a node with such a test tracks NaN."""
    columns = node.integers("nodes_featureids")
    tracks = node.integers("nodes_missing_value_tracks_true") or (0,) * len(columns)
    modes = node.strings("nodes_modes") or ("BRANCH",) * len(columns)
    found: dict[int, bool] = {}
    for column, tracked, mode in zip(columns, tracks, modes, strict=False):
        if mode != "LEAF":
            found[column] = found.get(column, False) or tracked != 0
    return found


def _checks(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    return Effect([replace(given[0], checked=node.inputs[0])], known=given[0].features)


def _negates(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    return Effect([replace(given[0], negated=not given[0].negated)])


def _chooses(node: Node, given: Sequence[Carried], graph: Graph) -> Effect:
    """Where(IsNaN(x), other, x) has no NaN of x, and Where(Not(IsNaN(x)), x, other) neither."""
    check, *values = given
    at = 0 if check.negated else 1
    if check.checked and node.inputs[1 + at] == check.checked:
        values[at] = values[at].cleared()
    if not _aligned(node, given, graph):
        return Effect([scattered(values)])
    if check.checked and values[at].columns is not None:
        values[at] = values[at].without(check)
    return Effect([overlaid([check.cleared(), *values])])


def _integers(graph: Graph, name: str) -> list[int] | None:
    """Return the integers of a constant, or None if it is computed."""
    return list(map(int, graph.constants[name])) if name in graph.constants else None


OPERATORS: dict[tuple[str, str], Handler] = {
    **dict.fromkeys([("", name) for name in ("Identity", "Neg", "Abs", "Sqrt", "Log")], _keeps),
    **dict.fromkeys([("", name) for name in ("Add", "Sub", "Mul", "Div")], _combines),
    **dict.fromkeys([("", name) for name in ("Shape", "Size")], _ignores),
    ("", "Cast"): _casts,
    ("", "Concat"): _concatenates,
    ("", "Gather"): _gathers,
    ("", "Slice"): _slices,
    ("", "Split"): _splits,
    ("", "Reshape"): _reshapes,
    ("", "Flatten"): _flattens,
    ("", "Squeeze"): _squeezes,
    ("", "Unsqueeze"): _unsqueezes,
    ("", "Transpose"): _scatters,
    ("", "IsNaN"): _checks,
    ("", "Not"): _negates,
    ("", "Where"): _chooses,
    (ML, "ArrayFeatureExtractor"): _extracts,
    (ML, "Scaler"): _keeps,
    (ML, "Normalizer"): _scatters,
    (ML, "FeatureVectorizer"): _scatters,
    (ML, "LabelEncoder"): _replaces,
    (ML, "Imputer"): _imputes,
    **dict.fromkeys(
        [(ML, f"TreeEnsemble{kind}") for kind in ("", "Classifier", "Regressor")],
        _decides_by_trees,
    ),
}

READS_CHECKS: tuple[Handler, ...] = (_chooses, _negates)
"""The handlers of operators that understand the result of IsNaN."""
