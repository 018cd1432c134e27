"""The names of classes: never guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from batchline.errors import ConfigurationError
from batchline.ml.examination.labels import find_classes
from batchline.ml.examination.onnx_file import class_labels
from scripts import example_models
from tests import models

SEEN = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], np.float32)


def names(answers: list[Any], *in_file: tuple[str, ...]) -> tuple[str, ...] | None:
    found = find_classes([np.array(answers), SEEN], None, lambda length: set(in_file))
    return None if found is None else found.names


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
def test_names_are_those_of_the_file_that_the_answers_confirm(
    answers: list[Any], in_file: list[tuple[str, ...]], expected: tuple[str, ...] | None
) -> None:
    assert names(answers, *in_file) == expected


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
    assert labels in class_labels(make(), length)


@pytest.mark.parametrize(
    "tensor",
    [
        numpy_helper.from_array(np.array([-1, 2**40]), "labels"),
        helper.make_tensor("labels", TensorProto.INT64, [2], [-1, 2**40]),
    ],
)
def test_numbers_are_read_however_they_are_written(tensor: TensorProto) -> None:
    nodes = [
        helper.make_node("ArgMax", ["p"], ["index"], axis=1),
        helper.make_node("Cast", ["index"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["labels", "place"], ["label"]),
        helper.make_node("Reshape", ["p", "other"], ["again"]),
    ]
    other = helper.make_tensor("other", TensorProto.INT64, [2], [0, -1])
    graph = helper.make_graph(nodes, "g", [], [], [tensor, other])
    content = helper.make_model(graph).SerializeToString()
    assert class_labels(content, 2) == {("-1", str(2**40))}


def test_a_list_that_has_nothing_to_do_with_the_label_names_no_class() -> None:
    nodes = [
        helper.make_node("Reshape", ["p", "shape"], ["q"]),
        helper.make_node("Transpose", ["q"], ["r"], perm=[1, 0]),
        helper.make_node("Gather", ["shape", "q"], ["s"]),
    ]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [0, -1])
    content = helper.make_model(helper.make_graph(nodes, "g", [], [], [shape])).SerializeToString()
    assert class_labels(content, 2) == set()


def test_names_in_the_order_of_the_model_are_never_sorted() -> None:
    labels = helper.make_tensor("labels", TensorProto.INT64, [3], [10, 9, 2])
    nodes = [
        helper.make_node("ArgMax", ["p"], ["index"], axis=1),
        helper.make_node("ArrayFeatureExtractor", ["labels", "index"], ["label"]),
    ]
    content = helper.make_model(helper.make_graph(nodes, "g", [], [], [labels])).SerializeToString()
    assert class_labels(content, 3) == {("10", "9", "2")}


PROBABILITIES = SEEN
LOGITS = np.array([[3.0, -1.0, 0.5], [-2.0, 4.0, 1.0]], np.float32)
LABELS = np.array([0, 1])


def none_in_file(length: int) -> set[tuple[str, ...]]:
    return set()


def test_the_probabilities_are_those_that_sum_to_1_wherever_they_stand() -> None:
    for outputs in ([LABELS, PROBABILITIES, LOGITS], [LOGITS, LABELS, PROBABILITIES]):
        found = find_classes(outputs, None, none_in_file)
        assert found is not None
        assert outputs[found.output] is PROBABILITIES


def test_scores_are_no_probabilities_also_in_a_zipmap() -> None:
    scores = [dict(enumerate(row.tolist())) for row in LOGITS]
    assert find_classes([LABELS, scores], None, none_in_file) is None
    assert find_classes([LABELS, LOGITS], None, none_in_file) is None
    with pytest.raises(ConfigurationError, match="gives no probabilities"):
        find_classes([LABELS, LOGITS], ("a", "b", "c"), none_in_file)


def test_of_two_outputs_with_probabilities_the_user_says_which_one_is_meant() -> None:
    outputs = [LABELS, PROBABILITIES, PROBABILITIES[:, ::-1].copy()]
    assert find_classes(outputs, None, none_in_file) is None
    with pytest.raises(ConfigurationError, match="2 outputs have") as caught:
        find_classes(outputs, ("a", "b", "c"), none_in_file)
    assert "--probabilities" in caught.value.hint
    found = find_classes(outputs, ("a", "b", "c"), none_in_file, wanted=2)
    assert found is not None
    assert (found.names, found.output) == (("a", "b", "c"), 2)
    with pytest.raises(ConfigurationError, match="has no probabilities"):
        find_classes([LABELS, LOGITS], None, none_in_file, wanted=1)


def test_indexes_are_names_only_if_the_label_is_the_index_of_the_highest_on_every_row() -> None:
    found = find_classes([LABELS, PROBABILITIES], None, none_in_file)
    assert found is not None
    assert found.names == ("0", "1", "2")
    assert find_classes([np.array([1, 1]), PROBABILITIES], None, none_in_file) is None


def test_what_is_no_model_has_no_labels(tmp_path: Path) -> None:
    content = models.doubling(tmp_path / "m.onnx").read_bytes()
    for broken in (b"", b"\xff" * 50, b"\x3f", content[: len(content) // 2], bytes(range(256))):
        assert class_labels(broken, 3) == set()
