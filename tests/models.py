"""Small ONNX models with predictable answers."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, load, numpy_helper, save
from onnx.helper import make_node, make_tensor, make_tensor_value_info

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def _save(
    path: Path, nodes: list, inputs: list, outputs: list, constants: list = (), opset: int = 17
) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    domains = {"": opset, "ai.onnx.ml": 3, "my.operators": 1}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def doubling(path: Path, width: int = 2, output: str = "doubled", kind: int = FLOAT) -> Path:
    """Rows of `width` numbers; gives each row doubled."""
    node = make_node("Add", ["x", "x"], [output])
    x = make_tensor_value_info("x", kind, ["n", width])
    return _save(path, [node], [x], [make_tensor_value_info(output, kind, ["n", width])])


def classifier(path: Path, *labels: str) -> Path:
    """Rows of two floats; gives a label and the probabilities of these classes."""
    node = make_node(
        "LinearClassifier",
        ["x"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        classlabels_strings=labels,
        coefficients=np.linspace(-1, 1, 2 * len(labels)).tolist(),
        intercepts=[0.0] * len(labels),
        post_transform="SOFTMAX",
    )
    label = make_tensor_value_info("label", TensorProto.STRING, ["n"])
    return _save(path, [node], [_floats("x", "n", 2)], [label, _floats("probabilities", "n", 2)])


def negated(path: Path) -> Path:
    """Rows of two floats; gives each row negated."""
    node = make_node("Neg", ["x"], ["negated"])
    return _save(path, [node], [_floats("x", "n", 2)], [_floats("negated", "n", 2)])


def of_nodes(path: Path, *nodes: Any, width: int | None = 3, **constants: Any) -> Path:
    """Rows x of `width` floats, or None for any, of which nodes and constants make the output y."""
    values = [numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items()]
    return _save(path, [*nodes], [_floats("x", "n", width)], [_floats("y", "n", None)], values)


def ml_node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    """A node of ai.onnx.ml."""
    return make_node(operator, inputs, outputs, domain="ai.onnx.ml", **attributes)


def imputer(given: str, output: str, *values: float, replaced: float = np.nan) -> Any:
    """An Imputer, by default of NaN."""
    attributes = {"imputed_value_floats": values, "replaced_value_float": replaced}
    return ml_node("Imputer", [given], [output], **attributes)


def trees(given: str, output: str, *tests: tuple[int, int], leaf_tracks: int = 0) -> Any:
    """A regressor with a tree for each test: its feature, and whether it tracks NaN."""
    count = len(tests)
    return ml_node(
        "TreeEnsembleRegressor",
        [given],
        [output],
        n_targets=1,
        nodes_treeids=[tree for tree in range(count) for _ in range(3)],
        nodes_nodeids=[0, 1, 2] * count,
        nodes_featureids=[each for feature, _ in tests for each in (feature, 0, 0)],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * count,
        nodes_values=[0.5, 0.0, 0.0] * count,
        nodes_truenodeids=[1, 0, 0] * count,
        nodes_falsenodeids=[2, 0, 0] * count,
        nodes_missing_value_tracks_true=[
            each for _, tracks in tests for each in (tracks, leaf_tracks, leaf_tracks)
        ],
        target_treeids=[tree for tree in range(count) for _ in range(2)],
        target_nodeids=[1, 2] * count,
        target_ids=[0, 0] * count,
        target_weights=[weight for tree in range(count) for weight in (1.0, 2.0 + tree)],
    )


def imputing(path: Path) -> Path:
    """Named columns: age and income, which are imputed, and height, which is not; and a city."""
    nodes = [
        make_node("Concat", ["age", "income"], ["both"], axis=1),
        imputer("both", "filled", 40.0, 1000.0),
        make_node("Concat", ["filled", "height"], ["all"], axis=1),
        make_node("ReduceSum", ["all", "axis"], ["sum"]),
    ]
    names = ("age", "income", "height")
    inputs = [_floats(name, "n", 1) for name in names]
    inputs.append(make_tensor_value_info("city", TensorProto.STRING, ["n", 1]))
    nodes.append(make_node("Identity", ["city"], ["town"]))
    outputs = [_floats("sum", "n", 1), make_tensor_value_info("town", TensorProto.STRING, ["n", 1])]
    return _save(path, nodes, inputs, outputs, [make_tensor("axis", INT64, [1], [1])])


def tracking(path: Path, *tracks: int, **metadata: str) -> Path:
    """Trees that test each value of a row, and track NaN for those with 1."""
    of_nodes(path, trees("x", "y", *enumerate(tracks)), width=len(tracks))
    model = load(path)
    helper.set_model_props(model, metadata)
    save(model, path)
    return path


def picky(path: Path, first: int = 0) -> Path:
    """Rows of one integer, ten from `first` on: gives the square of its place; raises at others."""
    squares = make_tensor("squares", FLOAT, [10], np.arange(10.0) ** 2)
    begin = make_tensor("first", INT64, [1], [first])
    nodes = [
        make_node("Sub", ["x", "first"], ["place"]),
        make_node("Gather", ["squares", "place"], ["square"]),
    ]
    x = make_tensor_value_info("x", INT64, ["n", 1])
    y = make_tensor_value_info("square", FLOAT, ["n", 1])
    return _save(path, nodes, [x], [y], [squares, begin])


def square_root(path: Path) -> Path:
    """Rows of one float; gives NaN for a negative one."""
    node = make_node("Sqrt", ["x"], ["root"])
    x = make_tensor_value_info("x", FLOAT, ["n", 1])
    return _save(path, [node], [x], [make_tensor_value_info("root", FLOAT, ["n", 1])])


def summing(path: Path) -> Path:
    """Gives one sum for all rows together: another number of results than rows."""
    node = make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1)
    x = make_tensor_value_info("x", FLOAT, ["n", 2])
    return _save(path, [node], [x], [make_tensor_value_info("mean", FLOAT, [1, 2])])


def two_inputs(path: Path) -> Path:
    """Gives the sum of its inputs `a` and `b`."""
    node = make_node("Add", ["a", "b"], ["sum"])
    inputs = [make_tensor_value_info(name, FLOAT, ["n", 1]) for name in ("a", "b")]
    return _save(path, [node], inputs, [make_tensor_value_info("sum", FLOAT, ["n", 1])])


def deadly(path: Path) -> Path:
    """Rows of one integer, by which it divides the smallest one; -1 kills the process.

    That quotient does not fit, which is a processor's trap that ONNX Runtime does not catch.
    """
    smallest = make_tensor("smallest", INT64, [1], [-(2**63)])
    node = make_node("Div", ["smallest", "x"], ["share"])
    x = make_tensor_value_info("x", INT64, ["n", 1])
    y = make_tensor_value_info("share", INT64, ["n", 1])
    return _save(path, [node], [x], [y], [smallest])


def deadly_to_load(path: Path) -> Path:
    """As `doubling`, but ends the process that loads it.

    ONNX Runtime computes constants while it loads a model, and this quotient does not fit.
    """
    constants = [
        make_tensor("smallest", INT64, [1], [-(2**63)]),
        make_tensor("b", INT64, [1], [-1]),
    ]
    nodes = [
        make_node("Div", ["smallest", "b"], ["quotient"]),
        make_node("Cast", ["quotient"], ["constant"], to=FLOAT),
        make_node("Add", ["x", "constant"], ["doubled"]),
    ]
    return _save(path, nodes, [_floats("x", "n", 2)], [_floats("doubled", "n", 2)], constants)


def slow(path: Path) -> Path:
    """Rows of one integer, and gives it; counts up to the largest, a second for each million."""
    n, one = make_tensor_value_info("n", INT64, []), make_tensor("one", INT64, [1], [1])
    more, going = (make_tensor_value_info(c, TensorProto.BOOL, []) for c in ("more", "going"))
    count, counted = (make_tensor_value_info(c, INT64, [1]) for c in ("count", "counted"))
    steps = [
        make_node("Add", ["count", "one"], ["counted"]),
        make_node("Identity", ["more"], ["going"]),
    ]
    body = helper.make_graph(steps, "body", [n, more, count], [going, counted], [one])
    nodes = [
        make_node("ReduceMax", ["x"], ["trips"], keepdims=0),
        make_node("Loop", ["trips", "", "start"], ["total"], body=body),
        make_node("Mul", ["total", "zero"], ["nothing"]),
        make_node("Add", ["x", "nothing"], ["y"]),
    ]
    constants = [make_tensor("start", INT64, [1], [0]), make_tensor("zero", INT64, [1], [0])]
    x = make_tensor_value_info("x", INT64, ["n", 1])
    return _save(path, nodes, [x], [make_tensor_value_info("y", INT64, ["n", 1])], constants)


def endless(path: Path) -> Path:
    """Rows of one integer, at none of which it returns: it counts for days."""
    slow(path)
    model = load(path)
    model.graph.node[0].CopyFrom(make_node("Identity", ["days"], ["trips"]))
    model.graph.initializer.append(make_tensor("days", INT64, [], [10**13]))
    save(model, path)
    return path


def unstoppable(path: Path) -> Path:
    """Rows of one integer, and gives it; compares as many boxes as the largest with each other.

    That is one operator, which ONNX Runtime cannot end. Two million boxes take an hour.
    """
    nodes = [
        make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        make_node("Reshape", ["largest", "one"], ["count"]),
        make_node("Concat", ["one", "count", "four"], ["boxes_shape"], axis=0),
        make_node("Concat", ["one", "one", "count"], ["scores_shape"], axis=0),
        make_node("ConstantOfShape", ["boxes_shape"], ["boxes"]),
        make_node("ConstantOfShape", ["scores_shape"], ["scores"]),
        make_node("NonMaxSuppression", ["boxes", "scores", "count", "overlap"], ["selected"]),
        make_node("ReduceMin", ["selected"], ["least"], keepdims=0),
        make_node("Mul", ["least", "zero"], ["nothing"]),
        make_node("Add", ["x", "nothing"], ["y"]),
    ]
    constants = [make_tensor("overlap", FLOAT, [1], [1.0])]
    for name, value in {"zero": 0, "one": 1, "four": 4}.items():
        constants.append(make_tensor(name, INT64, [1], [value]))
    x = make_tensor_value_info("x", INT64, ["n", 1])
    return _save(path, nodes, [x], [make_tensor_value_info("y", INT64, ["n", 1])], constants)


def unstoppable_to_load(path: Path) -> Path:
    """As `unstoppable` at two million boxes, which ONNX Runtime compares while it loads it."""
    unstoppable(path)
    model = load(path)
    model.graph.node[0].CopyFrom(make_node("Identity", ["boxes_in_all"], ["largest"]))
    model.graph.initializer.append(make_tensor("boxes_in_all", INT64, [], [2 * 10**6]))
    save(model, path)
    return path


def repeating(path: Path, times: int) -> Path:
    """Rows of one float; gives each `times` times."""
    x = make_tensor_value_info("x", FLOAT, ["n", 1])
    y = make_tensor_value_info("y", FLOAT, ["n", times])
    repeats = make_tensor("repeats", INT64, [2], [1, times])
    return _save(path, [make_node("Tile", ["x", "repeats"], ["y"])], [x], [y], [repeats])


def greedy(path: Path) -> Path:
    """Rows of one integer; fills memory for as many floats as the largest, and gives its input."""
    zero = helper.make_tensor("zero", FLOAT, [1], [0.0])
    nodes = [
        make_node("ReduceMax", ["x"], ["largest"], axes=[0, 1], keepdims=0),
        make_node("Reshape", ["largest", "one"], ["shape"]),
        make_node("ConstantOfShape", ["shape"], ["filled"], value=zero),
        make_node("ReduceSum", ["filled"], ["nothing"], keepdims=0),
        make_node("Cast", ["nothing"], ["nothing_whole"], to=INT64),
        make_node("Add", ["x", "nothing_whole"], ["y"]),
    ]
    x = make_tensor_value_info("x", INT64, ["n", 1])
    y = make_tensor_value_info("y", INT64, ["n", 1])
    return _save(path, nodes, [x], [y], [make_tensor("one", INT64, [1], [1])])


def _floats(name: str, *shape: int | str | None) -> Any:
    return make_tensor_value_info(name, FLOAT, list(shape))


def centered(path: Path) -> Path:
    """Rows of two floats, less the mean of all rows together."""
    nodes = [
        make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _save(path, nodes, [_floats("x", "n", 2)], [_floats("y", "n", 2)])


def sequence_first(path: Path, steps: str = "seq", batch: str = "batch") -> Path:
    """A GRU over [steps, batch, 3], as torch exports it: gives each step's and the last state."""
    random = np.random.default_rng(0)
    weights = [("w", (1, 6, 3)), ("r", (1, 6, 2))]
    constants = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in weights
    ]
    constants += [make_tensor("first", INT64, [1], [0]), make_tensor("second", INT64, [1], [1])]
    nodes = [
        make_node("GRU", ["x", "w", "r"], ["all", "end"], hidden_size=2),
        make_node("Squeeze", ["all", "second"], ["states"]),
        make_node("Squeeze", ["end", "first"], ["last"]),
    ]
    outputs = [_floats("states", steps, batch, 2), _floats("last", batch, 2)]
    return _save(path, nodes, [_floats("x", steps, batch, 3)], outputs, constants)


def picture(path: Path) -> Path:
    """One picture [height, width, 3]; gives its brightest value of each colour."""
    node = make_node("ReduceMax", ["image"], ["brightest"], axes=[0, 1], keepdims=0)
    return _save(path, [node], [_floats("image", "height", "width", 3)], [_floats("brightest", 3)])


def with_positions(path: Path, tokens: tuple[str, str] = ("batch", "seq")) -> Path:
    """Tokens [batch, seq] and position ids [seq]; gives each token plus its position."""
    inputs = [
        make_tensor_value_info("position", FLOAT, [tokens[1]]),
        make_tensor_value_info("token", FLOAT, list(tokens)),
    ]
    node = make_node("Add", ["token", "position"], ["y"])
    return _save(path, [node], inputs, [_floats("y", *tokens)])


def two_names(path: Path) -> Path:
    """Two inputs whose first axes the converter named differently, as tf2onnx does."""
    node = make_node("Add", ["a", "b"], ["sum"])
    inputs = [_floats("a", "unk__1", 2), _floats("b", "unk__2", 2)]
    return _save(path, [node], inputs, [_floats("sum", "unk__3", 2)])


def with_a_switch(path: Path) -> Path:
    """Rows, and a switch for training that centers them over all rows of the call."""
    axes = make_tensor("axes", INT64, [1], [0])
    centered = helper.make_graph(
        [
            make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            make_node("Sub", ["x", "mean"], ["a"]),
        ],
        "then",
        [],
        [make_tensor_value_info("a", FLOAT, None)],
    )
    same = helper.make_graph(
        [make_node("Identity", ["x"], ["b"])],
        "else",
        [],
        [make_tensor_value_info("b", FLOAT, None)],
    )
    node = make_node("If", ["training"], ["y"], then_branch=centered, else_branch=same)
    inputs = [_floats("x", "n", 2), make_tensor_value_info("training", TensorProto.BOOL, [])]
    return _save(path, [node], inputs, [_floats("y", "n", 2)], [axes])


def of_a_small_vocabulary(path: Path) -> Path:
    """Rows of four ids, 0 or 1; gives a number for each."""
    node = make_node("Gather", ["table", "ids"], ["y"])
    ids = make_tensor_value_info("ids", INT64, ["batch", 4])
    table = make_tensor("table", FLOAT, [2], [1.0, 2.0])
    return _save(path, [node], [ids], [_floats("y", "batch", 4)], [table])


def shares(path: Path) -> Path:
    """Rows of four integers; gives the share of each in their sum, and the largest one's place."""
    axis = make_tensor("axis", INT64, [1], [1])
    nodes = [
        make_node("Cast", ["x"], ["floats"], to=FLOAT),
        make_node("ReduceSum", ["floats", "axis"], ["sum"]),
        make_node("Div", ["floats", "sum"], ["share"]),
        make_node("ArgMax", ["floats"], ["largest"], axis=1, keepdims=0),
    ]
    outputs = [_floats("share", "n", 4), make_tensor_value_info("largest", INT64, ["n"])]
    x = make_tensor_value_info("x", INT64, ["n", 4])
    return _save(path, nodes, [x], outputs, [axis])


def with_an_unnamed_mask(path: Path) -> Path:
    """Rows [batch, seq], and a mask of which the file does not say whether it has rows."""
    node = make_node("Mul", ["x", "mask"], ["y"])
    inputs = [_floats("x", "batch", "seq"), _floats("mask", None, None)]
    return _save(path, [node], inputs, [_floats("y", "batch", "seq")])


def unnamed(path: Path) -> Path:
    """Rows of two floats along an axis without a name; gives each doubled."""
    node = make_node("Add", ["x", "x"], ["y"])
    return _save(path, [node], [_floats("x", None, 2)], [_floats("y", None, 2)])


def with_constant_output(path: Path) -> Path:
    """Gives each row doubled, and a list of names that is the same in every call."""
    names = make_tensor("list", TensorProto.STRING, [2], [b"a", b"b"])
    nodes = [
        make_node("Add", ["x", "x"], ["y"]),
        make_node("Identity", ["list"], ["names"]),
    ]
    outputs = [_floats("y", "n", 2), make_tensor_value_info("names", TensorProto.STRING, [2])]
    return _save(path, nodes, [_floats("x", "n", 2)], outputs, [names])


def with_listed_output(path: Path) -> Path:
    """Gives a sequence of two tensors, each with an entry per row, of two sizes."""
    nodes = [
        make_node("Concat", ["x", "x"], ["wide"], axis=1),
        make_node("SequenceConstruct", ["x", "wide"], ["y"]),
    ]
    y = helper.make_tensor_sequence_value_info("y", FLOAT, None)
    return _save(path, nodes, [_floats("x", "n", 1)], [y])


def half_precision(path: Path) -> Path:
    """Gives each number as a float16, which another row may round to the next one."""
    nodes = [
        make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        make_node("Mul", ["mean", "tiny"], ["share"]),
        make_node("Mul", ["x", "share"], ["noise"]),
        make_node("Add", ["x", "noise"], ["sum"]),
        make_node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT16),
    ]
    y = make_tensor_value_info("y", TensorProto.FLOAT16, ["n", 2])
    tiny = make_tensor("tiny", FLOAT, [], [1e-5])
    return _save(path, nodes, [_floats("x", "n", 2)], [y], [tiny])


def without_a_shape(path: Path) -> Path:
    """Does not say what shape its input has."""
    x, y = (make_tensor_value_info(name, FLOAT, None) for name in ("x", "y"))
    return _save(path, [make_node("Mul", ["x", "x"], ["y"])], [x], [y])


def giving(path: Path, kind: int, *, strings: bool = False) -> Path:
    """Gives each row of two floats as another type, and its string input, if it has one."""
    nodes, inputs = [make_node("Cast", ["x"], ["y"], to=kind)], [_floats("x", "n", 2)]
    outputs = [make_tensor_value_info("y", kind, ["n", 2])]
    if strings:
        nodes.append(make_node("Identity", ["s"], ["t"]))
        inputs.append(make_tensor_value_info("s", TensorProto.STRING, ["n"]))
        outputs.append(make_tensor_value_info("t", TensorProto.STRING, ["n"]))
    return _save(path, nodes, inputs, outputs, opset=19)


def of_shape(path: Path, *shape: int | str) -> Path:
    """Gives the sum of a tensor of this shape."""
    node = make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    return _save(path, [node], [_floats("x", *shape)], [_floats("y")])


def zeroed(path: Path) -> Path:
    """Rows of two floats; gives zeros."""
    node = make_node("Sub", ["x", "x"], ["y"])
    return _save(path, [node], [_floats("x", "n", 2)], [_floats("y", "n", 2)])


def fixed_batch(path: Path) -> Path:
    """Takes exactly three rows of two floats; gives each doubled."""
    node = make_node("Add", ["x", "x"], ["y"])
    return _save(path, [node], [_floats("x", 3, 2)], [_floats("y", 3, 2)])


def fixed_batch_that_mixes(path: Path) -> Path:
    """Takes a tensor of 3 × 2, and gives its running sums: it is no batch."""
    axis = make_tensor("axis", INT64, [], [0])
    node = make_node("CumSum", ["x", "axis"], ["y"])
    return _save(path, [node], [_floats("x", 3, 2)], [_floats("y", 3, 2)], [axis])


def one_image(path: Path) -> Path:
    """Takes a tensor of 4 × 4 without an axis for rows; gives the sums of its columns."""
    node = make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)
    return _save(path, [node], [_floats("x", 4, 4)], [_floats("y", 4)])


def one_by_one(path: Path) -> Path:
    """Takes exactly one row of two floats; gives it doubled."""
    node = make_node("Add", ["x", "x"], ["y"])
    return _save(path, [node], [_floats("x", 1, 2)], [_floats("y", 1, 2)])


def columns_first(path: Path) -> Path:
    """Its second axis is that of the rows: gives the sums of the columns."""
    node = make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=0)
    return _save(path, [node], [_floats("x", 3, "n")], [_floats("y", "n")])


def with_state(path: Path) -> Path:
    """Rows of two floats, and a state whose second axis is that of the rows."""
    nodes = [
        make_node("Transpose", ["state"], ["turned"], perm=[1, 0]),
        make_node("Add", ["x", "turned"], ["y"]),
    ]
    inputs = [_floats("x", "n", 2), _floats("state", 2, "n")]
    return _save(path, nodes, inputs, [_floats("y", "n", 2)])


def scaled_by(path: Path) -> Path:
    """Rows of any number of floats, and a factor for the item; gives each times the factor."""
    node = make_node("Mul", ["x", "factor"], ["y"])
    inputs = [_floats("x", "n", "length"), _floats("factor")]
    return _save(path, [node], inputs, [_floats("y", "n", "length")])


def of_scalars(path: Path) -> Path:
    """Takes two numbers without any axis; gives their quotient."""
    node = make_node("Div", ["a", "b"], ["y"])
    return _save(path, [node], [_floats("a"), _floats("b")], [_floats("y")])


def by_chance(path: Path) -> Path:
    """Adds noise to each row."""
    nodes = [
        make_node("RandomNormalLike", ["x"], ["noise"]),
        make_node("Add", ["x", "noise"], ["y"]),
    ]
    return _save(path, nodes, [_floats("x", "n", 2)], [_floats("y", "n", 2)])


def misdeclared(path: Path) -> Path:
    """Declares seven numbers a row, and gives two."""
    nodes = [  # a shape that ONNX Runtime does not see through
        make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        make_node("Mul", ["largest", "zero"], ["nothing"]),
        make_node("Cast", ["nothing"], ["no_more"], to=INT64),
        make_node("Add", ["no_more", "pairs"], ["shape"]),
        make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = [make_tensor("zero", FLOAT, [], [0.0]), make_tensor("pairs", INT64, [2], [-1, 2])]
    return _save(path, nodes, [_floats("x", "n", 2)], [_floats("y", "n", 7)], constants)


def without_outputs(path: Path) -> Path:
    return _save(path, [make_node("Identity", ["x"], ["y"])], [_floats("x", "n", 2)], [])


def of_sequences(path: Path) -> Path:
    x = helper.make_tensor_sequence_value_info("x", FLOAT, None)
    node = make_node("ConcatFromSequence", ["x"], ["y"], axis=0)
    return _save(path, [node], [x], [_floats("y", "n", 2)])


def external(name: str, **entries: object) -> TensorProto:
    """A tensor of 2 by 2 floats that are in another file."""
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[2, 2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def multiplying(path: Path, weights: TensorProto, *nodes: Any) -> Path:
    """Gives each row of two floats, multiplied by the weights, which nodes may make."""
    nodes = (*nodes, make_node("MatMul", ["x", "w"], ["y"]))
    constants = [weights] if weights.name else []
    return _save(path, [*nodes], [_floats("x", "n", 2)], [_floats("y", "n", 2)], constants)


def with_external_data(path: Path, weights: np.ndarray | None = None) -> Path:
    """Its weights are in the file weights.bin next to it, which is there if they are given."""
    if weights is not None:
        (path.parent / "weights.bin").write_bytes(weights.astype(np.float32).tobytes())
    return multiplying(path, external("w", location="weights.bin"))


def with_embedded_data(path: Path, weights: np.ndarray) -> Path:
    """The model that `with_external_data` makes, in one file."""
    return multiplying(path, make_tensor("w", FLOAT, [2, 2], weights.ravel()))


def of_an_unknown_operator(path: Path) -> Path:
    node = make_node("Telepathy", ["x"], ["y"], domain="my.operators")
    return _save(path, [node], [_floats("x", "n", 2)], [_floats("y", "n", 2)])


def of_a_future_opset(path: Path) -> Path:
    doubling(path)
    model = load(path)
    model.opset_import[0].version = 99
    save(model, path)
    return path


def adding(path: Path, *names: str) -> Path:
    """Gives the sum of one float of each of these inputs."""
    inputs = [_floats(name, "n", 1) for name in names]
    return _save(path, [make_node("Sum", names, ["sum"])], inputs, [_floats("sum", "n", 1)])


def of_many_types(path: Path) -> Path:
    """Gives a float as an integer, as a boolean, as text, as it is, and beside its reciprocal."""
    kinds = {"whole": INT64, "flag": TensorProto.BOOL, "text": TensorProto.STRING}
    nodes = [make_node("Cast", ["x"], [name], to=kind) for name, kind in kinds.items()]
    nodes.append(make_node("Reciprocal", ["x"], ["inverse"]))
    nodes.append(make_node("Concat", ["x", "inverse"], ["both"], axis=1))
    outputs = [make_tensor_value_info(name, kind, ["n", 1]) for name, kind in kinds.items()]
    outputs += [_floats("inverse", "n", 1), _floats("both", "n", 2)]
    return _save(path, nodes, [_floats("x", "n", 1)], outputs)
