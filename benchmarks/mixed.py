"""A model with seven named columns of numbers and strings, and its rows.

A row is a record such as `{"age": 47, "visits": 3, "income": 1200.5, "score": null, …}`. The
contenders use it like the bundled model (benchmarks/iris.py).
"""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.classifier import Classifier

CITIES = ("Bergen", "Lagos", "Lima", "Oslo", "Pune", "Quito", "Tromsø", "Ulm")
JOBS = ("baker", "clerk", "farmer", "nurse", "pilot", "teacher")
COLUMNS: dict[str, Any] = {
    "age": np.int64,
    "visits": np.int64,
    "income": np.float32,
    "score": np.float32,
    "rate": np.float32,
    "city": object,
    "job": object,
}
TYPES = {np.int64: Int64TensorType, np.float32: FloatTensorType, object: StringTensorType}
MISSING_SHARE = 0.2
TRAINING_ROWS = 1_000
OPSET = 17

Record = dict[str, Any]


def load() -> Classifier:
    return Classifier(ort.InferenceSession(onnx_file()), ["0", "1"], _to_tensors)


def _to_tensors(records: Sequence[Record]) -> dict[str, Any]:
    return {
        name: np.array([[record[name]] for record in records], dtype)
        for name, dtype in COLUMNS.items()
    }


def make_items(count: int) -> list[str]:
    """Return the data of `count` items of one record, as JSON texts."""
    return [orjson.dumps(record).decode() for record in _records(count, seed=1)]


def _records(count: int, seed: int) -> list[Record]:
    chance = random.Random(seed)

    def or_missing(value: float) -> float | None:
        return None if chance.random() < MISSING_SHARE else value

    return [
        {
            "age": chance.randrange(18, 80),
            "visits": chance.randrange(50),
            "income": or_missing(round(chance.gauss(2_500, 900), 2)),
            "score": or_missing(round(chance.random(), 3)),
            "rate": or_missing(round(chance.random(), 3)),
            "city": chance.choice(CITIES),
            "job": chance.choice(JOBS),
        }
        for _ in range(count)
    ]


@cache
def onnx_file() -> bytes:
    """Train the model: who moves, from made-up people."""
    records = _records(TRAINING_ROWS, seed=0)
    table = np.array([list(record.values()) for record in records], object)
    moves = [r["age"] < 40 and r["city"] != "Oslo" for r in records]
    numbers = make_pipeline(SimpleImputer(missing_values=np.nan), StandardScaler())
    table[:, 2:5] = table[:, 2:5].astype(np.float32)  # None becomes NaN
    columns = ColumnTransformer(
        [
            ("integers", StandardScaler(), [0, 1]),
            ("floats", numbers, [2, 3, 4]),
            ("strings", OneHotEncoder(handle_unknown="ignore"), [5, 6]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(table, moves)
    inputs = [(name, TYPES[dtype]([None, 1])) for name, dtype in COLUMNS.items()]
    options = {id(model): {"zipmap": False}}
    found = to_onnx(model, initial_types=inputs, options=options, target_opset=OPSET)
    return bytes(found.SerializeToString())
