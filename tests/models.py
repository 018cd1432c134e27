"""Small ONNX models with predictable answers."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, save
from onnx.helper import make_node, make_tensor, make_tensor_value_info

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def _save(path: Path, nodes: list, inputs: list, outputs: list, constants: list = ()) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, constants)
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def doubling(path: Path, width: int = 2) -> Path:
    """Rows of `width` floats; gives each row doubled, as the output `doubled`."""
    node = make_node("Add", ["x", "x"], ["doubled"])
    x = make_tensor_value_info("x", FLOAT, ["n", width])
    return _save(path, [node], [x], [make_tensor_value_info("doubled", FLOAT, ["n", width])])


def picky(path: Path) -> Path:
    """Rows of one integer from 0 to 9, of which it gives the square; raises at any other."""
    squares = make_tensor("squares", FLOAT, [10], np.arange(10.0) ** 2)
    node = make_node("Gather", ["squares", "x"], ["square"])
    x = make_tensor_value_info("x", INT64, ["n", 1])
    y = make_tensor_value_info("square", FLOAT, ["n", 1])
    return _save(path, [node], [x], [y], [squares])


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
    """Takes two inputs, which this version does not."""
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


def slow(path: Path) -> Path:
    """Rows of one integer; counts up to the largest, which takes a second for each million."""
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
        make_node("Mul", ["x", "zero"], ["nothing"]),
        make_node("Add", ["nothing", "total"], ["y"]),
    ]
    constants = [make_tensor("start", INT64, [1], [0]), make_tensor("zero", INT64, [1], [0])]
    x = make_tensor_value_info("x", INT64, ["n", 1])
    return _save(path, nodes, [x], [make_tensor_value_info("y", INT64, ["n", 1])], constants)


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
