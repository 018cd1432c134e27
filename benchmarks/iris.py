"""What all contenders share: the rows, the packaged model, and the check of their answers."""

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
"""Answers in each check that are compared with the model's own, spread over all items."""
TOLERANCE = 1e-5
"""A row in a batch may differ from the same row alone in the last digits of a float32."""

Answer = tuple[Any, dict[str, float]]
"""What an item holds (its rows) beside the prediction that was stored for it."""


class WrongAnswers(Exception):
    """A contender did not do the work, so its time means nothing."""


@dataclass(frozen=True, slots=True)
class Model:
    """The packaged model in a session with the options that nobody has touched."""

    session: ort.InferenceSession
    labels: list[str]

    @classmethod
    def load(cls) -> Self:
        stored = json.loads(IRIS_LABELS.read_text())
        labels = [stored[str(index)] for index in range(len(stored))]
        return cls(ort.InferenceSession(IRIS_MODEL), labels)

    def probabilities(self, rows: Any) -> Any:
        """One call of the model; an array of (rows, classes)."""
        tensor = np.array(rows, dtype=np.float32)
        return self.session.run(["probabilities"], {"X": tensor})[0]

    def predict_row(self, row: list[float]) -> dict[str, float]:
        probabilities = self.probabilities([row])[0]
        return dict(zip(self.labels, map(float, probabilities), strict=True))


def make_items(count: int) -> list[str]:
    """The data of `count` items, one row each: flowers with a little noise, the same every time.

    Without the noise there would be 150 different texts, and a cache somewhere could help one
    contender more than another.
    """
    with IRIS_FLOWERS.open() as file:
        flowers = [[float(value) for value in line[:4]] for line in list(csv.reader(file))[1:]]
    noise = random.Random(0)
    return [
        json.dumps([[round(value + noise.random(), 3) for value in noise.choice(flowers)]])
        for _ in range(count)
    ]


def check(answers: Iterable[Answer], expected: int) -> None:
    """Raise unless each of the `expected` items has one prediction, and a sample is right.

    Raises:
        WrongAnswers: too few or too many predictions, or others than the model gives.
    """
    found = list(answers)
    if len(found) != expected:
        raise WrongAnswers(f"{len(found)} predictions for {expected} items")
    model = Model.load()
    for rows, prediction in found[:: max(1, expected // SAMPLE)]:
        right = model.predict_row(rows[0])
        if not _same(prediction, right):
            raise WrongAnswers(f"{prediction} is stored for {rows}, the model says {right}")


def _same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        abs(one[label] - other[label]) < TOLERANCE for label in other
    )
