"""The files and the models of the comparison with scripts: four floats, and seven mixed columns."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import StringStringEntryProto
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scripts import train_iris

CHUNK = 100_000
CITIES = ("Lagos", "Lima", "Oslo", "Pune")
JOBS = ("baker", "nurse", "pilot, retired")
NOTES = ("north", "a note, quoted", "plain", "a longer text that is kept")
GAPS = 0.1
"""The share of missing values in each column that has any."""

Columns = dict[str, Any]
"""name → an array of numbers or strings, one value per row."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows as a CSV file has them, and a model for them.

    Args:
        options: what `batchline predict` needs to know beside the model.
    """

    name: str
    columns: Callable[[int, int], Columns]
    model: Callable[[], Any]
    classes: tuple[str, ...]
    options: tuple[str, ...] = ()

    def write_model(self, path: Path) -> Path:
        model = self.model()
        model.metadata_props.append(
            StringStringEntryProto(key="classes", value=",".join(self.classes))
        )
        path.write_bytes(model.SerializeToString())
        return path

    def write_rows(self, path: Path, count: int) -> Path:
        """Write a file of rows with an id, the features and a text that the model ignores."""
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for start in range(0, count, CHUNK):
                rows = min(CHUNK, count - start)
                columns = self.columns(rows, start)
                if start == 0:
                    writer.writerow(columns)
                writer.writerows(zip(*columns.values(), strict=True))
        return path


def iris_columns(rows: int, seed: int) -> Columns:
    random = np.random.default_rng(seed)
    flowers = load_iris().data[random.integers(0, 150, rows)] + random.random((rows, 4))
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    values = dict(zip(names, flowers.round(3).T.tolist(), strict=True))
    return {"id": list(_ids(rows, seed)), **values, "note": _some_of(NOTES, random, rows)}


def mixed_columns(rows: int, seed: int) -> Columns:
    random = np.random.default_rng(seed)
    return {
        "id": list(_ids(rows, seed)),
        "age": random.integers(18, 80, rows).tolist(),
        "visits": random.integers(0, 40, rows).tolist(),
        "income": _with_gaps(random.normal(40, 10, rows).round(2).tolist(), random),
        "score": _with_gaps(random.random(rows).round(4).tolist(), random),
        "rate": _with_gaps(random.normal(0, 1, rows).round(3).tolist(), random),
        "city": _with_gaps(_some_of(CITIES, random, rows), random),
        "job": _with_gaps(_some_of(JOBS, random, rows), random),
        "note": _some_of(NOTES, random, rows),
    }


def _ids(rows: int, start: int) -> Iterator[str]:
    return (f"{number:08d}" for number in range(start, start + rows))


def _some_of(words: tuple[str, ...], random: np.random.Generator, rows: int) -> list[str]:
    return [words[place] for place in random.integers(0, len(words), rows).tolist()]


def _with_gaps(values: list[Any], random: np.random.Generator) -> list[Any]:
    missing = (random.random(len(values)) < GAPS).tolist()
    return ["" if is_missing else value for value, is_missing in zip(values, missing, strict=True)]


def iris_model() -> Any:
    """A logistic regression on four inputs with the names of the columns."""
    iris = load_iris()
    each = ColumnTransformer([("numbers", StandardScaler(), [0, 1, 2, 3])])
    model = make_pipeline(each, LogisticRegression())
    model.fit(iris.data.astype(np.float32), iris.target_names[iris.target])
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    return _exported(model, [(name, FloatTensorType([None, 1])) for name in names])


def mixed_model() -> Any:
    """A pipeline that imputes floats, and takes an unknown or missing text as none of its words."""
    random = np.random.default_rng(0)
    table = np.empty((2_000, 7), object)
    table[:, 0], table[:, 1] = random.integers(18, 80, 2_000), random.integers(0, 40, 2_000)
    for place in (2, 3, 4):
        table[:, place] = random.normal(1, 1, 2_000).astype(np.float32)
    table[:, 5], table[:, 6] = _some_of(CITIES, random, 2_000), _some_of(JOBS, random, 2_000)
    moves = np.where((table[:, 0] < 40) & (table[:, 5] != "Oslo"), "yes", "no")
    texts = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer(
        [
            ("integers", StandardScaler(), [0, 1]),
            ("floats", make_pipeline(SimpleImputer(), StandardScaler()), [2, 3, 4]),
            ("texts", texts, [5, 6]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(table, moves)
    types = [Int64TensorType] * 2 + [FloatTensorType] * 3 + [StringTensorType] * 2
    names = ("age", "visits", "income", "score", "rate", "city", "job")
    inputs = [(name, kind([None, 1])) for name, kind in zip(names, types, strict=True)]
    return _exported(model, inputs)


def _exported(model: Any, inputs: list[Any]) -> Any:
    options = {id(model): {"zipmap": False}}
    return to_onnx(model, initial_types=inputs, options=options, target_opset=train_iris.OPSET)


DATA_SETS = (
    DataSet("iris", iris_columns, iris_model, ("setosa", "versicolor", "virginica")),
    DataSet(
        "mixed",
        mixed_columns,
        mixed_model,
        ("no", "yes"),
        ("--missing-text", ""),
    ),
)
