"""The rows and the bundled model of all contenders, and the check of their predictions."""

import csv
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import onnxruntime as ort

from batchline.constants import IRIS_FLOWERS, IRIS_LABELS, IRIS_MODEL

SAMPLE = 200
"""Predictions of each run that are compared with the model, spread over all items."""
TOLERANCE = 1e-5
"""A prediction in a batch may differ from an unbatched one in the last digits of a float32."""

StoredItem = tuple[Any, dict[str, float]]
"""The rows of an item, and its stored prediction."""


class WrongResults(Exception):
    """A contender's results are wrong or incomplete, so its time does not count."""


@dataclass(frozen=True, slots=True)
class Model:
    """The bundled model in a session with ONNX Runtime's default options."""

    session: ort.InferenceSession
    labels: list[str]

    @classmethod
    def load(cls) -> Self:
        stored = json.loads(IRIS_LABELS.read_text())
        labels = [stored[str(index)] for index in range(len(stored))]
        return cls(ort.InferenceSession(IRIS_MODEL), labels)

    def probabilities(self, rows: Any) -> Any:
        """Call the model once, and return an array of (rows, classes)."""
        tensor = np.array(rows, dtype=np.float32)
        return self.session.run(["probabilities"], {"X": tensor})[0]

    def predict_row(self, row: list[float]) -> dict[str, float]:
        probabilities = self.probabilities([row])[0]
        return dict(zip(self.labels, map(float, probabilities), strict=True))


def make_items(count: int) -> list[str]:
    """Return the data of `count` items of one row: iris flowers with reproducible noise.

    Without the noise there would be only 150 different texts, and a cache could help one contender
    more than another.
    """
    with IRIS_FLOWERS.open() as file:
        flowers = [[float(value) for value in line[:4]] for line in list(csv.reader(file))[1:]]
    noise = random.Random(0)
    return [
        json.dumps([[round(value + noise.random(), 3) for value in noise.choice(flowers)]])
        for _ in range(count)
    ]


def check(stored: Iterable[StoredItem], expected: int) -> None:
    """Check the number of predictions, and compare a sample of them with the model.

    Raises:
        WrongResults: there are too few or too many predictions, or one is wrong.
    """
    found = list(stored)
    if len(found) != expected:
        raise WrongResults(f"the run must store {expected} predictions, got {len(found)}")
    model = Model.load()
    for rows, prediction in found[:: max(1, expected // SAMPLE)]:
        right = model.predict_row(rows[0])
        if not _same(prediction, right):
            raise WrongResults(f"the prediction of {rows} must be {right}, got {prediction}")


def _same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        abs(one[label] - other[label]) < TOLERANCE for label in other
    )
