"""The label of a classifier as the place of its class: the same answers as those of the model."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from batchline.errors import Failure
from batchline.ml.batching import Batching
from batchline.ml.inputs import Input
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.ml.signature import Output, Signature
from batchline.registry.files import read_content
from batchline.registry.model_file import ModelFile
from tests import models

ROWS = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
ROWS[::50] = np.nan
CLASSES = ("no", "yes")
DIGITS = {"keys_int64s": [0, 1, 2], "values_strings": ["no", "yes", "oops"]}


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_labels_are_those_of_the_model_in_each_version_of_the_operators(
    version: int, tmp_path: Path
) -> None:
    path = models.classifier(tmp_path / "m.onnx", "b", "ä", "")
    model = onnx.load(path)
    next(each for each in model.opset_import if each.domain == "ai.onnx.ml").version = version
    onnx.save(model, path)
    file = ModelFile.read(str(path), None)
    found = file.examine(None, None)
    predictor = Predictor.load(file.content, "m", found.signature, found.batching)
    right = onnxruntime.InferenceSession(path).run(None, {"x": ROWS})
    outputs = predictor.outputs(RowTensors({"x": ROWS}))
    assert predictor.session.gives_places
    assert [("b", "ä", "")[place] for place in outputs[0]] == right[0].tolist()
    np.testing.assert_array_equal(outputs[1], right[1])
    assert predictor.predict(RowTensors({"x": ROWS[:2]})).labels == right[0][:2].tolist()


def test_a_label_that_is_no_class_is_told_by_its_name(tmp_path: Path) -> None:
    predictor = _naming(tmp_path)
    calls = [predictor.outputs(_digits(0, 1)), predictor.outputs(_digits(1, 2, 0))]
    found = predictor.to_predictions(calls)
    why = "the label must be one of the classes no, yes, got oops"
    assert dict(found.failures) == {3: Failure("model_error", why)}
    assert found.labels.texts() == ["no", "yes", "yes", None, "no"]
    assert predictor.predict(_digits(2)).labels == [None]


def test_a_label_that_is_a_number_stays_one(tmp_path: Path) -> None:
    predictor = _naming(tmp_path, values_int64s=[0, 1, 7], label=TensorProto.INT64)
    assert not predictor.session.gives_places
    assert predictor.outputs(_digits(0, 2))[0].ravel().tolist() == [0, 7]


def _naming(folder: Path, label: int = TensorProto.STRING, **values: list) -> Predictor:
    """A model of one integer, whose label names it."""
    names = {"keys_int64s": DIGITS["keys_int64s"], **(values or DIGITS)}
    graph = helper.make_graph(
        [
            models.ml_node("LabelEncoder", ["x"], ["label"], **names),
            helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["half", "half"], ["p"], axis=1),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["n", 1])],
        [
            helper.make_tensor_value_info("label", label, ["n", 1]),
            helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 2]),
        ],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), folder / "m.onnx")
    content = read_content(str(folder / "m.onnx"))
    outputs = Output("label", ""), Output("p", "", (2,))
    inputs = (Input("x", "int64", (1,)),)
    own = CLASSES if label == TensorProto.STRING else ("0", "7")
    signature = Signature(inputs, outputs, CLASSES, "p", "label", own)
    return Predictor.load(content, "m", signature, Batching())


def _digits(*digits: int) -> RowTensors:
    return RowTensors({"x": np.array(digits, np.int64)[:, None]})
