"""The names of classes: never guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from batchline.ml.examination.labels import class_names
from batchline.ml.examination.onnx_file import lists_of_labels
from scripts import example_models
from tests import models

SEEN = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], np.float32)


def names(answers: list[Any], *in_file: tuple[str, ...]) -> tuple[str, ...] | None:
    return class_names([np.array(answers), SEEN], None, lambda length: set(in_file))


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
    assert labels in lists_of_labels(make(), length)


@pytest.mark.parametrize(
    "tensor",
    [
        numpy_helper.from_array(np.array([-1, 2**40]), "labels"),
        helper.make_tensor("labels", TensorProto.INT64, [2], [-1, 2**40]),
    ],
)
def test_numbers_are_read_however_they_are_written(tensor: TensorProto) -> None:
    graph = helper.make_graph([], "g", [], [], [tensor])
    content = helper.make_model(graph).SerializeToString()
    assert lists_of_labels(content, 2) == {("-1", str(2**40))}


def test_what_is_no_model_has_no_labels(tmp_path: Path) -> None:
    content = models.doubling(tmp_path / "m.onnx").read_bytes()
    for broken in (b"", b"\xff" * 50, b"\x3f", content[: len(content) // 2], bytes(range(256))):
        assert lists_of_labels(broken, 3) == set()
