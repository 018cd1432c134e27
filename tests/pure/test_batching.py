"""Whether rows may be predicted together is measured: each kind of model gets its verdict."""

import json
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from batchline.errors import ConfigurationError
from batchline.ml.data_loader import load_batch
from batchline.ml.differences import difference
from batchline.ml.examination.accepted_rows import accepted_rows
from batchline.ml.examination.batch_dimension import batch_dimensions
from batchline.ml.examination.examine import examine
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.predictor import Predictor
from batchline.ml.runtime import Runtime
from batchline.ml.session import DTYPES, Session
from batchline.registry.files import read_content
from tests import models


def examined(path: Path, sample: bytes | None = None, rows_axis: str | None = None) -> ModelReport:
    given = None if sample is None else ("rows.json", sample)
    return examine(read_content(str(path)), "the model", Choices(rows_axis=rows_axis), sample=given)


def refused(path: Path, sample: bytes | None = None, rows_axis: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        examined(path, sample, rows_axis)
    assert caught.value.hint
    return caught.value.detail


def served(path: Path, data: object, rows_axis: str | None = None) -> list[Any]:
    """The predictions for the data of one item."""
    found = examined(path, rows_axis=rows_axis)
    predictor = Predictor.load(read_content(str(path)), "m", found.signature, found.batching)
    batch = load_batch({1: json.dumps(data)}, found.signature)
    assert not batch.failures, batch.failures
    return [json.loads(str(each)) for each in predictor.predict_batch(batch).results]


def alone(path: Path, **feeds: object) -> list[Any]:
    session = Session.open(read_content(str(path)), "m", Runtime())
    tensors = {name: np.array(value, np.float32) for name, value in feeds.items()}
    return [output.tolist() for output in session.run(tensors)]


@pytest.mark.parametrize(
    ("make", "verdict", "reason"),
    [
        (models.doubling, "batched", ""),
        (models.two_inputs, "batched", ""),
        (models.picky, "batched", ""),
        (models.fixed_batch, "batches of 3", "fixed size 3"),
        (models.fixed_batch_that_mixes, "one row per call", "no batch dimension"),
        (models.one_image, "one row per call", "no batch dimension"),
        (models.one_by_one, "one row per call", "fixed size 1"),
        (models.of_scalars, "one row per call", "no batch dimension"),
        (models.columns_first, "batched", ""),
        (models.with_state, "batched", ""),
        (models.scaled_by, "batched", ""),
        (models.sequence_first, "batched", ""),
        (models.with_positions, "batched", ""),
        (models.two_names, "batched", ""),
        (models.unnamed, "batched", ""),
        (models.with_constant_output, "batched", ""),
        (models.with_listed_output, "batched", ""),
        (models.half_precision, "one row per call", "change when batched, by"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_kind_of_model_has_its_verdict(
    make: Callable[[Path], Path], verdict: str, reason: str, tmp_path: Path
) -> None:
    found = examined(make(tmp_path / "m.onnx")).batching
    assert found.verdict == verdict
    assert reason in found.reason


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (models.summing, "the output mean has no entry per row"),
        (models.centered, "change when batched, by"),
        (models.picture, "the output brightest has no entry per row"),
        (lambda path: models.sequence_first(path, "", ""), "the output last has no entry per row"),
        (lambda path: models.with_positions(path, ("", "")), "fails with 2 rows at once"),
        (models.with_a_switch, "change when batched"),
        (models.with_an_unnamed_mask, "fails with 2 rows at once"),
    ],
    ids=[
        "a sum over the batch",
        "centered",
        "a picture",
        "unnamed steps",
        "unnamed positions",
        "a switch for training",
        "an unnamed mask",
    ],
)
def test_rows_that_influence_each_other_are_refused_and_the_user_is_asked_for_their_axis(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="does not hold independent rows") as caught:
        examined(make(tmp_path / "m.onnx"))
    assert reason in caught.value.detail
    assert "--rows-axis none" in caught.value.hint


def test_the_axis_that_the_user_names_is_that_of_the_rows(tmp_path: Path) -> None:
    centered = models.centered(tmp_path / "centered.onnx")
    assert served(centered, [[1, 2], [3, 6]], "0") == [{"y": [0, 0]}, {"y": [0, 0]}]
    assert served(centered, [[1, 2], [3, 6]], "n") == [{"y": [0, 0]}, {"y": [0, 0]}]
    assert served(centered, [[[1, 2], [3, 6]]], "none") == [{"y": [[-1, -2], [1, 2]]}]
    found = examined(centered, rows_axis="0").batching
    assert found.verdict == "one row per call"
    assert found.difference is not None
    assert f"{found.difference:.3g}" in found.reason
    picture = models.picture(tmp_path / "picture.onnx")
    assert served(picture, [[[[1, 2, 3], [4, 0, 0]]]], "none") == [{"brightest": [4, 2, 3]}]
    assert "must be a number or a name of an axis" in refused(centered, rows_axis="depth")
    assert "must be a number or a name of an axis" in refused(centered, rows_axis="7")


STEPS = np.random.default_rng(1).normal(size=(2, 5, 3)).round(2).tolist()


@pytest.mark.parametrize(("names", "rows_axis"), [(("seq", "batch"), None), (("", ""), "1")])
def test_rows_may_be_along_the_second_axis(
    names: tuple[str, str], rows_axis: str | None, tmp_path: Path
) -> None:
    model = models.sequence_first(tmp_path / "m.onnx", *names)
    predictions = served(model, STEPS, rows_axis)
    for steps, prediction in zip(STEPS, predictions, strict=True):
        states, last = alone(model, x=[[step] for step in steps])
        assert np.allclose(prediction["states"], np.array(states)[:, 0], atol=1e-6)
        assert np.allclose(prediction["last"], last[0], atol=1e-6)


def test_an_axis_by_number_is_that_of_all_inputs_whose_names_do_not_contradict(
    tmp_path: Path,
) -> None:
    mask = models.with_an_unnamed_mask(tmp_path / "m.onnx")
    data = {"x": [[1, 2], [3, 4]], "mask": [[1, 1], [1, 0]]}
    assert served(mask, data, "0") == [{"y": [1, 2]}, {"y": [3, 0]}]


def test_inputs_without_the_batch_dimension_are_given_once_per_item(tmp_path: Path) -> None:
    model = models.with_positions(tmp_path / "m.onnx")
    data = {"token": [[1, 2, 3], [4, 5, 6]], "position": [10, 20, 30]}
    assert served(model, data) == [{"y": [11, 22, 33]}, {"y": [14, 25, 36]}]
    data = {"token": [[1, 2], [4, 5]], "position": [10, 20]}
    assert served(model, data) == [{"y": [11, 22]}, {"y": [14, 25]}]


def test_bfloat16_outputs_are_served_as_floats(tmp_path: Path) -> None:
    model = models.giving(tmp_path / "m.onnx", TensorProto.BFLOAT16)
    assert served(model, [[1.5, -2.25], [0.1, 3e38]]) == [
        {"y": [1.5, -2.25]},
        {"y": [0.100097656, pytest.approx(3e38, rel=0.01)]},
    ]


def test_the_domain_of_a_custom_operator_is_named_with_what_can_be_done(tmp_path: Path) -> None:
    model = models.of_an_unknown_operator(tmp_path / "m.onnx")
    with pytest.raises(ConfigurationError, match="operators:Telepathy") as caught:
        examined(model)
    assert "OPERATOR_LIBRARIES" in caught.value.hint
    content = read_content(str(model))
    with pytest.raises(ConfigurationError, match="missing") as caught:
        examine(content, "m", runtime=Runtime(operator_libraries=("missing.so",)))
    assert "correct OPERATOR_LIBRARIES" in caught.value.hint


def test_a_row_may_be_one_number_per_input(tmp_path: Path) -> None:
    model = models.of_scalars(tmp_path / "m.onnx")
    assert served(model, {"a": [6, 8], "b": [3, 2]}) == [{"y": 2}, {"y": 4}]


def test_an_output_that_is_the_same_in_every_call_is_part_of_each_prediction(
    tmp_path: Path,
) -> None:
    model = models.with_constant_output(tmp_path / "m.onnx")
    assert served(model, [[1, 2], [3, 4]]) == [
        {"y": [2, 4], "names": ["a", "b"]},
        {"y": [6, 8], "names": ["a", "b"]},
    ]


def test_each_row_has_its_entries_of_a_sequence_of_tensors(tmp_path: Path) -> None:
    model = models.with_listed_output(tmp_path / "m.onnx")
    assert served(model, [[1], [2]]) == [{"y": [[1], [1, 1]]}, {"y": [[2], [2, 2]]}]
    assert served(model, [[5]]) == [{"y": [[5], [5, 5]]}]


def test_many_different_rows_are_tried_with_a_vocabulary_of_two(tmp_path: Path) -> None:
    path = models.of_a_small_vocabulary(tmp_path / "m.onnx")
    session = Session.open(read_content(str(path)), "m", Runtime())
    [layout] = batch_dimensions(session.inputs, DTYPES, "m")
    rows = accepted_rows(session, layout, None, "m").tensors["ids"]
    assert len(np.unique(rows, axis=0)) > 2


def test_numbers_that_are_negative_for_some_rows_are_no_probabilities(tmp_path: Path) -> None:
    assert examined(models.shares(tmp_path / "m.onnx")).signature.probabilities is None


def test_the_report_has_an_example_that_was_computed(tmp_path: Path) -> None:
    doubling = examined(models.doubling(tmp_path / "m.onnx")).example
    assert doubling == {
        "data": [[1.5, 1.5]],
        "prediction": {"doubled": [3, 3]},
        "label": None,
    }
    found = examined(models.picky(tmp_path / "m.onnx", first=1_000), b"[[1003], [1004]]").example
    assert found is not None
    assert (found["data"], found["prediction"]) == ([[1003]], {"square": [9]})


def test_a_model_that_answers_by_chance_is_refused(tmp_path: Path) -> None:
    assert "another prediction for the same row" in refused(models.by_chance(tmp_path / "m.onnx"))


def test_an_output_in_another_shape_than_declared_is_noted(tmp_path: Path) -> None:
    found = examined(models.misdeclared(tmp_path / "m.onnx"))
    assert found.notes == ("the output y is declared with shape [7], but has [2]",)


def test_a_model_that_takes_no_made_up_rows_is_examined_with_a_sample(tmp_path: Path) -> None:
    model = models.picky(tmp_path / "m.onnx", first=1_000)
    assert "made-up rows" in refused(model)
    assert examined(model, b"[[1003], [1009]]").batching.verdict == "batched"
    assert examined(model, b'{"data": [[1003]]}\n{"data": [[1004]]}\n').batching.size is None


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        (b"[[1003]]", "the sample file rows.json must have at least 2 rows of one shape, got 1"),
        (b"[[3], [1003], [4]]", "at least 2 sample rows, got 3 of which it accepts 1: "),
        (b'[["x"], [1]]', "expected a number"),
        (b"oops", "not JSON"),
        (b"", "no rows"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(sample: bytes, problem: str, tmp_path: Path) -> None:
    assert problem in refused(models.picky(tmp_path / "m.onnx", first=1_000), sample)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (models.without_outputs, "no outputs"),
        (lambda path: models.doubling(path, output="a\0b"), "cannot be printed"),
        (lambda path: models.classifier(path, "a\nb", "c"), "cannot be printed"),
        (models.without_a_shape, "does not say what shape"),
        (models.of_sequences, "seq(tensor(float))"),
        (models.with_external_data, "weights.bin"),
        (models.of_an_unknown_operator, "can load"),
        (models.of_a_future_opset, "can load"),
        (lambda path: models.giving(path, TensorProto.FLOAT8E4M3FN), "tensor(float8e4m3fn)"),
        (lambda path: models.giving(path, TensorProto.BFLOAT16, strings=True), "string inputs"),
        (lambda path: models.of_shape(path, "n", 0), "has no values"),
        (lambda path: models.of_shape(path, "n", 100_000, 100_000), "10000000000 values"),
        (lambda path: models.repeating(path, 4_194_305), "4194305 values for one row"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_served_is_refused_with_a_hint(
    make: Callable[[Path], Path], problem: str, tmp_path: Path
) -> None:
    assert problem in refused(make(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    ("found", "expected", "exceeds"),
    [
        ([np.array([1.0])], [np.array([1.0])], False),
        ([np.array([nan, inf])], [np.array([nan, inf])], False),
        ([np.array([1.0])], [np.array([nan])], True),
        ([np.array([1000.05])], [np.array([1000.0])], False),
        ([np.array([1.001])], [np.array([1.0])], True),
        ([np.array([1, 2])], [np.array([1, 3])], True),
        ([np.array(["a"], object)], [np.array(["b"], object)], True),
        ([{"a": 0.5}], [{"a": 0.5}], False),
        ([{"a": 0.5}], [{"b": 0.5}], True),
        ([np.zeros(2)], [np.zeros(3)], True),
    ],
)
def test_answers_are_the_same_within_the_tolerance(
    found: list[object], expected: list[object], exceeds: bool
) -> None:
    assert difference(found, expected).exceeds is exceeds
