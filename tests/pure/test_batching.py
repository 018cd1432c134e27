"""Whether rows may be predicted together is measured: each kind of model gets its verdict."""

from collections.abc import Callable
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from batchline.errors import ConfigurationError
from batchline.ml.differences import difference
from batchline.ml.examination.report import ModelReport, examine
from batchline.registry.files import read_content
from tests import models


def examined(path: Path, sample: bytes | None = None) -> ModelReport:
    given = None if sample is None else ("rows.json", sample)
    return examine(read_content(str(path)), "the model", sample=given)


def refused(path: Path, sample: bytes | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        examined(path, sample)
    assert caught.value.hint
    return caught.value.detail


@pytest.mark.parametrize(
    ("make", "verdict", "reason"),
    [
        (models.doubling, "batched", ""),
        (models.two_inputs, "batched", ""),
        (models.picky, "batched", ""),
        (models.summing, "one row per call", "1 results for 2 rows"),
        (models.centered, "one row per call", "change when batched"),
        (models.fixed_batch, "batches of 3", "fixed size 3"),
        (models.fixed_batch_that_mixes, "one row per call", "no batch dimension"),
        (models.one_image, "one row per call", "no batch dimension"),
        (models.one_by_one, "one row per call", "fixed size 1"),
        (models.columns_first, "one row per call", "no batch dimension"),
        (models.with_state, "batched", ""),
        (models.scaled_by, "batched", ""),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_kind_of_model_has_its_verdict(
    make: Callable[[Path], Path], verdict: str, reason: str, tmp_path: Path
) -> None:
    found = examined(make(tmp_path / "m.onnx")).batching
    assert found.verdict == verdict
    assert reason in found.reason


def test_what_rows_that_influence_each_other_differ_by_is_kept(tmp_path: Path) -> None:
    found = examined(models.centered(tmp_path / "m.onnx")).batching
    assert found.difference > 1
    assert f"{found.difference:.3g}" in found.reason


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
        (b"[[1003]]", "not enough rows"),
        (b"[[3], [4]]", "does not accept the sample rows"),
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
        (models.of_sequences, "seq(tensor(float))"),
        (models.with_external_data, "weights.bin"),
        (models.of_an_unknown_operator, "can load"),
        (models.of_a_future_opset, "can load"),
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
