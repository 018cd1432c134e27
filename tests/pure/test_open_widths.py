"""Rows of which the file does not say how many values they have."""

from pathlib import Path

import pytest

from batchline.errors import ConfigurationError
from batchline.ml.examination.examine import examine
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.inputs import shape_text
from batchline.registry.files import read_content
from batchline.scoring.columns import kinds_of, named_columns
from tests import models
from tests.models import ml_node

NAMES = ("age", "tenure", "spend", "calls")


def weighing(path: Path) -> Path:
    """Rows of as many values as you like; gives 1000 × the first of them + 100 × the second …"""
    weights = [1000.0, 100.0, 10.0, 1.0]
    node = ml_node("LinearRegressor", ["x"], ["y"], coefficients=weights, intercepts=[0.0])
    return models.of_nodes(path, node, width=None)


def report(path: Path, *features: str) -> ModelReport:
    return examine(read_content(str(path)), "the model", Choices(features=features or None))


def test_names_of_features_say_how_many_values_a_row_has(tmp_path: Path) -> None:
    found = report(weighing(tmp_path / "m.onnx"), *NAMES)
    assert found.signature.inputs[0].shape == (4,)
    assert found.signature.features == NAMES
    assert not any("any number" in note for note in found.notes)


def test_a_note_warns_of_rows_with_any_number_of_values(tmp_path: Path) -> None:
    found = report(weighing(tmp_path / "m.onnx"))
    assert found.notes == (
        "rows of x may have any number of values. If the model takes a fixed number of them, name "
        "them with --features, so that other rows are rejected",
    )


def test_a_number_of_names_that_the_model_does_not_accept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="coefficients"):
        report(weighing(tmp_path / "m.onnx"), *NAMES, "churned")


def test_the_columns_of_a_file_say_how_many_values_a_row_has(tmp_path: Path) -> None:
    signature = report(weighing(tmp_path / "m.onnx")).signature
    with pytest.raises(ConfigurationError) as error:
        kinds_of(signature)
    assert error.value.detail == "rows of the input x may have any number of values"
    assert "--columns age,income" in error.value.hint
    named = named_columns(signature, NAMES)
    assert list(kinds_of(named)) == list(NAMES)
    assert named.example() == [dict.fromkeys(NAMES, 1.5)]


def test_people_read_any_for_a_dynamic_dimension_without_a_name() -> None:
    assert shape_text(("", "steps", 3)) == "[any, steps, 3]"
