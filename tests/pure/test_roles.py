"""The roles of a classifier's outputs, and the names of its classes: never guessed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node

from batchline.errors import ConfigurationError
from batchline.ml.examination.onnx_file import Graph, read_graph
from batchline.ml.examination.roles import Roles, Tried, find_roles
from batchline.ml.examination.sources import Role, class_labels, constant_outputs, source_of
from batchline.ml.signature import NO_LABEL
from scripts import example_models
from tests import models

PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], np.float32)
LOGITS = np.array([[3.0, -1.0, 0.5], [-2.0, 4.0, 1.0]], np.float32)
LABELS = np.array([0, 1])


def roles(
    labels: tuple[str, ...] | None = None,
    wanted: str | None = None,
    graph: Graph | None = None,
    **outputs: Any,
) -> Roles:
    return find_roles(Tried(outputs, graph or Graph()), labels, wanted)


def graph_of(nodes: Sequence[Any], outputs: Sequence[str] = (), *constants: TensorProto) -> Graph:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "g", [], values, constants)
    return read_graph(helper.make_model(graph).SerializeToString())


def taken_from(*lists: tuple[str, ...]) -> Graph:
    """A graph in which each list is that of a label, of which the outputs know nothing."""
    nodes = [make_node("ArgMax", ["logits"], ["index"], axis=1)]
    constants = []
    for place, names in enumerate(lists):
        nodes.append(make_node("Gather", [f"list{place}", "index"], [f"label{place}"]))
        constants.append(numpy_helper.from_array(np.array(names, object), f"list{place}"))
    return graph_of(nodes, [], *constants)


@pytest.mark.parametrize(
    ("answers", "in_file", "expected"),
    [
        ([0, 1], [], ("0", "1", "2")),
        ([0, 1], [("0", "1", "9")], ("0", "1", "9")),
        ([0, 1], [("0", "1", "9"), ("7", "8", "9")], ("0", "1", "9")),
        ([0, 1], [("0", "1", "9"), ("0", "1", "2")], None),
        ([5, 7], [], None),
        (["a", "b"], [("a", "b", "c")], ("a", "b", "c")),
        (["a", "b"], [("b", "a", "c")], None),
        (["a", "b"], [], None),
    ],
)
def test_names_are_those_of_the_file_that_the_label_confirms(
    answers: list[Any], in_file: list[tuple[str, ...]], expected: tuple[str, ...] | None
) -> None:
    found = roles(graph=taken_from(*in_file), label=np.array(answers), p=PROBABILITIES)
    assert found.names == expected


@pytest.mark.parametrize(
    ("make", "length", "labels"),
    [
        (example_models.string_labels, 3, ("setosa", "versicolor", "virginica")),
        (example_models.svc, 3, ("0", "1", "2")),
        (example_models.gradient_boosted_trees, 3, ("0", "1", "2")),
    ],
)
def test_the_labels_in_the_files_of_real_models_are_found(
    make: Any, length: int, labels: tuple[str, ...]
) -> None:
    graph = read_graph(make())
    assert labels in class_labels(graph, length)
    label = source_of(graph, graph.outputs[0])
    assert label is not None
    assert (label.role, label.names) == (Role.LABEL, labels)


@pytest.mark.parametrize(
    "tensor",
    [
        numpy_helper.from_array(np.array([-1, 2**30]), "labels"),
        helper.make_tensor("labels", TensorProto.INT64, [2], [-1, 2**30]),
        numpy_helper.from_array(np.array([-1, 2**30], np.int32), "labels"),
        helper.make_tensor("labels", TensorProto.INT32, [2], [-1, 2**30]),
    ],
)
def test_numbers_are_read_however_they_are_written(tensor: TensorProto) -> None:
    nodes = [
        make_node("ArgMax", ["p"], ["index"], axis=1),
        make_node("Cast", ["index"], ["place"], to=TensorProto.INT64),
        make_node("Gather", ["labels", "place"], ["label"]),
        make_node("Reshape", ["p", "other"], ["again"]),
    ]
    other = helper.make_tensor("other", TensorProto.INT64, [2], [0, -1])
    assert class_labels(graph_of(nodes, [], tensor, other), 2) == {("-1", str(2**30))}


def test_a_list_that_has_nothing_to_do_with_the_label_names_no_class() -> None:
    nodes = [
        make_node("Reshape", ["p", "shape"], ["q"]),
        make_node("Transpose", ["q"], ["r"], perm=[1, 0]),
        make_node("Gather", ["shape", "q"], ["s"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [0, -1])
    assert class_labels(graph_of(nodes, [], shape), 2) == set()


def test_names_in_the_order_of_the_model_are_never_sorted() -> None:
    labels = helper.make_tensor("labels", TensorProto.INT64, [3], [10, 9, 2])
    nodes = [
        make_node("ArgMax", ["p"], ["index"], axis=1),
        make_node("ArrayFeatureExtractor", ["labels", "index"], ["label"]),
    ]
    graph = graph_of(nodes, ["label"], labels)
    assert class_labels(graph, 3) == {("10", "9", "2")}
    found = roles(graph=graph, label=np.array([10, 9]), p=PROBABILITIES)
    assert (found.names, found.label) == (("10", "9", "2"), "label")


def test_the_probabilities_are_those_that_sum_to_1_wherever_they_stand() -> None:
    for outputs in (
        {"label": LABELS, "p": PROBABILITIES, "logits": LOGITS},
        {"logits": LOGITS, "label": LABELS, "p": PROBABILITIES},
    ):
        found = roles(**outputs)
        assert (found.label, found.probabilities) == ("label", "p")


def test_of_several_such_outputs_that_of_a_classifier_has_the_probabilities() -> None:
    classifier = make_node(
        "LinearClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_strings=["c", "a", "b"],
        coefficients=[0.0] * 3,
    )
    normalizer = make_node("Normalizer", ["scores"], ["p"], domain="ai.onnx.ml", norm="L1")
    graph = graph_of([classifier, normalizer], ["label", "p"])
    found = roles(graph=graph, label=np.array(["c", "c"], object), p=PROBABILITIES, q=PROBABILITIES)
    assert found == Roles("label", "p", ("c", "a", "b"), ("c", "a", "b"))


def test_scores_are_no_probabilities_also_in_a_zipmap() -> None:
    scores = [dict(enumerate(row.tolist())) for row in LOGITS]
    assert roles(label=LABELS, p=scores) == Roles()
    assert roles(label=LABELS, p=LOGITS) == Roles()
    with pytest.raises(ConfigurationError, match="gives no probabilities"):
        roles(("a", "b", "c"), label=LABELS, p=LOGITS)


def test_of_two_outputs_with_probabilities_the_user_says_which_one_is_meant() -> None:
    outputs = {"label": LABELS, "p": PROBABILITIES, "q": PROBABILITIES[:, ::-1].copy()}
    assert roles(**outputs) == Roles()
    with pytest.raises(ConfigurationError, match="2 outputs have") as caught:
        roles(("a", "b", "c"), **outputs)
    assert "--probabilities" in caught.value.hint
    found = roles(("a", "b", "c"), "q", **outputs)
    assert (found.names, found.probabilities) == (("a", "b", "c"), "q")
    with pytest.raises(ConfigurationError, match="logits has no probabilities"):
        roles(None, "logits", label=LABELS, logits=LOGITS)


def test_indexes_are_names_only_if_the_label_is_the_index_of_the_highest_on_every_row() -> None:
    assert roles(label=LABELS, p=PROBABILITIES).names == ("0", "1", "2")
    found = roles(label=np.array([1, 1]), p=PROBABILITIES)
    assert (found.names, found.label) == (None, None)
    assert "cannot be matched" in found.note


def test_a_label_that_is_not_the_highest_is_known_by_where_it_comes_from() -> None:
    nodes = [
        make_node("MatMul", ["x", "w"], ["logits"]),
        make_node("Softmax", ["logits"], ["p"]),
        make_node("Greater", ["p", "threshold"], ["is_above"]),
        make_node("Cast", ["is_above"], ["label"], to=TensorProto.INT64),
        make_node("Size", ["x"], ["count"]),
    ]
    graph = graph_of(nodes, ["label", "p", "count"])
    by_name = [{0: a, 1: b, 2: c} for a, b, c in PROBABILITIES.tolist()]
    never_highest = np.array([1, 0])
    found = roles(graph=graph, label=never_highest, count=np.array([2, 2]), p=by_name)
    assert (found.label, found.names) == ("label", ("0", "1", "2"))
    flag = roles(graph=graph, flag=never_highest, p=by_name)
    assert flag.label == NO_LABEL  # it may be the label or not, so there is no answer


def test_a_model_without_a_label_output_has_the_class_with_the_highest_probability() -> None:
    by_name = [{0: a, 1: b, 2: c} for a, b, c in PROBABILITIES.tolist()]
    assert roles(p=by_name).label is None


def test_a_label_from_another_head_names_no_probabilities() -> None:
    nodes = [
        make_node("MatMul", ["x", "w"], ["a"]),
        make_node("ArgMax", ["a"], ["intent"], axis=1),
        make_node("MatMul", ["x", "v"], ["b"]),
        make_node("Softmax", ["b"], ["sentiment"]),
    ]
    graph = graph_of(nodes, ["intent", "sentiment"])
    assert roles(graph=graph, intent=LABELS, sentiment=PROBABILITIES).names is None


def test_names_of_an_inner_classifier_that_the_label_contradicts_are_not_used() -> None:
    nodes = [
        make_node(
            "LinearClassifier",
            ["x"],
            ["inner", "scores"],
            domain="ai.onnx.ml",
            classlabels_ints=[0, 1, 2],
        ),
        make_node("ArgMax", ["scores"], ["index"], axis=1),
        make_node("ArrayFeatureExtractor", ["classes", "index"], ["label"], domain="ai.onnx.ml"),
    ]
    classes = helper.make_tensor("classes", TensorProto.STRING, [3], [b"Mid", b"alpha", b"zeta"])
    graph = graph_of(nodes, ["label", "scores"], classes)
    label = np.array(["Mid", "alpha"], object)
    found = roles(graph=graph, label=label, scores=PROBABILITIES)
    assert found == Roles("label", "scores", ("Mid", "alpha", "zeta"), ("Mid", "alpha", "zeta"))
    graph = graph_of(nodes[:2], ["label", "scores"])  # nothing says where these strings come from
    assert roles(graph=graph, inner=label, scores=PROBABILITIES).names is None


def test_class_names_that_appear_twice_are_not_used() -> None:
    classifier = make_node(
        "LinearClassifier",
        ["x"],
        ["label", "p"],
        domain="ai.onnx.ml",
        classlabels_strings=["a", "a", "b"],
    )
    graph = graph_of([classifier], ["label", "p"])
    found = roles(graph=graph, label=np.array(["a", "b"], object), p=PROBABILITIES)
    assert (found.names, found.probabilities) == (None, None)


def test_the_classes_of_a_zipmap_have_the_models_order() -> None:
    nodes = [
        make_node(
            "LinearClassifier", ["x"], ["label", "s"], domain="ai.onnx.ml", classlabels_ints=[9, 2]
        ),
        make_node("ZipMap", ["s"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[9, 2]),
    ]
    by_name = [{2: 0.25, 9: 0.75}, {2: 1.0, 9: 0.0}]  # ONNX Runtime sorts the keys
    found = roles(graph=graph_of(nodes, ["label", "p"]), label=np.array([9, 2]), p=by_name)
    assert found.names == ("9", "2")


def test_a_boolean_may_be_the_label() -> None:
    found = roles(("no", "yes"), label=np.array([False, True]), p=PROBABILITIES[:, :2])
    assert (found.label, found.own_names) == ("label", ("0", "1"))


def test_a_label_file_renames_the_classes_of_the_label_output() -> None:
    found = roles(("a", "b", "c"), label=LABELS, p=PROBABILITIES)
    assert found == Roles("label", "p", ("a", "b", "c"), ("0", "1", "2"))
    found = roles(("a", "b", "c"), label=np.array(["a", "b"], object), p=PROBABILITIES)
    assert found == Roles("label", "p", ("a", "b", "c"), ("a", "b", "c"))


def test_a_classifier_without_probabilities_has_its_label() -> None:
    classifier = make_node(
        "SVMClassifier",
        ["x"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        classlabels_strings=["c", "a", "b"],
    )
    graph = graph_of([classifier], ["label", "scores"])
    found = roles(graph=graph, label=np.array(["c", "a"], object), scores=LOGITS)
    assert found == Roles(label="label")


def test_only_outputs_that_come_from_no_input_are_constant() -> None:
    nodes = [
        make_node("Add", ["x", "c"], ["y"]),
        make_node("Add", ["c", "c"], ["fixed"]),
        make_node("RandomNormal", [], ["noise"], shape=[2]),
        make_node("Shape", ["x"], ["size"]),
    ]
    constant = helper.make_tensor("c", TensorProto.INT64, [1], [1])
    graph = graph_of(nodes, ["y", "fixed", "noise", "size", "c"], constant)
    assert constant_outputs(graph) == {"fixed", "c"}


def test_what_is_no_model_has_no_labels(tmp_path: Path) -> None:
    content = models.doubling(tmp_path / "m.onnx").read_bytes()
    for broken in (b"", b"\xff" * 50, b"\x3f", content[: len(content) // 2], bytes(range(256))):
        assert class_labels(read_graph(broken), 3) == set()
