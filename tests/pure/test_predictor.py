"""The packaged model, and models that are not what they should be."""

import csv
import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from batchline.constants import (
    CALL_MAX_BYTES,
    CALL_MAX_ROWS,
    IRIS_FLOWERS,
    IRIS_LABELS,
    IRIS_MODEL,
    MAX_BODY_BYTES,
)
from batchline.errors import ConfigurationError
from batchline.ml import prediction_texts
from batchline.ml.outputs import Predictions
from batchline.ml.prediction_texts import TOO_LARGE, to_results
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.registry.model_file import ModelFile
from scripts import train_iris
from tests import models


def load(model: Path, labels: Path | None = None) -> Predictor:
    file = ModelFile.read(str(model), labels)
    found = file.examine(None, None)
    return Predictor.load(file.content, model.name, found.signature, found.batching)


def predict(predictor: Predictor, rows: np.ndarray) -> list[Any]:
    name = predictor.signature.inputs[0].name
    return [
        json.loads(str(result)) for result in predictor.predict(RowTensors({name: rows})).results
    ]


def flowers() -> tuple[np.ndarray, list[str]]:
    with IRIS_FLOWERS.open() as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[:-1] for row in rows], np.float32), [row[-1] for row in rows]


def test_the_packaged_model_knows_its_flowers() -> None:
    rows, species = flowers()
    results = predict(load(IRIS_MODEL, IRIS_LABELS), rows)
    right = sum(max(p, key=p.get) == known for p, known in zip(results, species, strict=True))
    assert right >= 144


def test_the_packaged_files_are_what_the_script_makes(tmp_path: Path) -> None:
    train_iris.write(tmp_path)
    rows, _ = flowers()
    packaged = predict(load(IRIS_MODEL, IRIS_LABELS), rows)
    made = predict(load(tmp_path / "iris.onnx", tmp_path / "labels.json"), rows)
    for a, b in zip(packaged, made, strict=True):
        assert a == pytest.approx(b, abs=1e-4)
    assert (tmp_path / "flowers.csv").read_text() == IRIS_FLOWERS.read_text()


def test_a_zipmap_gives_the_same_as_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "zipmap.onnx"
    path.write_bytes(train_iris.export(train_iris.train(), zipmap=True).SerializeToString())
    rows, _ = flowers()
    zipmap, tensor = load(path, IRIS_LABELS), load(IRIS_MODEL, IRIS_LABELS)
    for a, b in zip(predict(zipmap, rows), predict(tensor, rows), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_a_row_has_the_same_prediction_alone_and_in_company() -> None:
    rows, _ = flowers()
    predictor = load(IRIS_MODEL, IRIS_LABELS)
    alone = [predict(predictor, rows[n : n + 1])[0] for n in range(len(rows))]
    for a, b in zip(alone, predict(predictor, rows), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_without_a_label_file_classes_have_their_numbers() -> None:
    assert load(IRIS_MODEL).signature.labels == ("0", "1", "2")


def test_labels_may_be_a_list(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text('["a", "b", "c"]')
    assert load(IRIS_MODEL, labels).signature.labels == ("a", "b", "c")


def test_a_model_without_classes_has_no_labels(tmp_path: Path) -> None:
    predictor = load(models.doubling(tmp_path / "m.onnx", width=3))
    assert predictor.signature.labels is None
    assert predictor.signature.inputs[0].shape == (3,)


def test_one_call_takes_fewer_rows_of_a_model_that_gives_much(tmp_path: Path) -> None:
    assert load(IRIS_MODEL).batching.call_rows == CALL_MAX_ROWS
    wide = load(models.doubling(tmp_path / "m.onnx", width=100_000))
    assert wide.batching.call_rows == CALL_MAX_BYTES // (2 * 4 * 100_000)


def refused(model: Path, labels: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(model, labels)
    assert caught.value.hint
    return caught.value.detail


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    assert "is not a model" in refused(broken)
    broken.write_bytes(IRIS_MODEL.read_bytes()[:2_000])
    assert "is not a model" in refused(broken)
    broken.write_bytes(b"")
    assert refused(broken)
    assert "cannot be read" in refused(tmp_path / "missing.onnx")
    assert "cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(
    "content", ["[", "{}", '["a", "a", "a"]', '{"1": "a"}', "[1, 2, 3]", '"abc"', "\x00"]
)
def test_what_are_no_labels_is_refused(tmp_path: Path, content: str) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(content)
    assert "label file" in refused(IRIS_MODEL, labels)


@pytest.mark.parametrize("count", [2, 4])
def test_labels_of_the_wrong_length_are_refused(tmp_path: Path, count: int) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps([str(n) for n in range(count)]))
    assert f"has {count} labels, but the model gives 3" in refused(IRIS_MODEL, labels)


def test_labels_for_a_model_without_probabilities_are_refused(tmp_path: Path) -> None:
    model = models.picky(tmp_path / "m.onnx")
    assert "3 labels" in refused(model, IRIS_LABELS)


def test_a_prediction_that_is_too_large_is_not_written_as_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load(models.repeating(tmp_path / "m.onnx", MAX_BODY_BYTES // len("0.0,") + 1))
    monkeypatch.setattr(prediction_texts, "_dump", written := Mock())
    found = predictor.predict(RowTensors({"x": np.ones((2, 1), np.float32)}))
    assert found.results == [TOO_LARGE, TOO_LARGE]
    written.assert_not_called()


def test_a_row_that_is_too_large_leaves_the_smaller_ones_their_predictions() -> None:
    small, large = np.ones(1, np.float32), np.ones(MAX_BODY_BYTES, np.float32)
    finite = np.ones(2, bool)
    given = Predictions(2, {"y": [small, large]}, None, {}, finite)
    assert to_results(given).results == ['{"y":[1.0]}', TOO_LARGE]
