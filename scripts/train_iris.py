"""Train the bundled iris model, and write it to the package with its labels and flowers.

It needs the development extra (scikit-learn, skl2onnx):

    .venv/bin/python scripts/train_iris.py [FOLDER]
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
from onnx import ModelProto
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

PACKAGE = Path(__file__).parent.parent / "src" / "batchline" / "iris"
FIELDS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
OPSET = 17
"""An opset that every supported version of ONNX Runtime can run."""


def train() -> Pipeline:
    """Train a support vector machine with calibrated probabilities on all 150 flowers."""
    iris = load_iris()
    # SVC(probability=True) is deprecated. This is the documented replacement.
    classifier = CalibratedClassifierCV(SVC(), ensemble=False)
    return make_pipeline(StandardScaler(), classifier).fit(iris.data, iris.target)


def export(model: Pipeline, *, zipmap: bool = False) -> ModelProto:
    """Return the pipeline as an ONNX model from float32 rows to labels and probabilities."""
    example = np.zeros((1, len(FIELDS)), dtype=np.float32)
    options = {id(model): {"zipmap": zipmap}}
    return to_onnx(model, example, options=options, target_opset=OPSET)


def write(folder: Path) -> None:
    """Write `iris.onnx`, `labels.json` and `flowers.csv`."""
    iris = load_iris()
    names = [str(name) for name in iris.target_names]
    (folder / "iris.onnx").write_bytes(export(train()).SerializeToString())
    labels = {str(index): name for index, name in enumerate(names)}
    (folder / "labels.json").write_text(json.dumps(labels, indent=2) + "\n")
    with (folder / "flowers.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*FIELDS, "species"])
        for row, target in zip(iris.data.tolist(), iris.target, strict=True):
            rows.writerow([*row, names[target]])


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGE)
