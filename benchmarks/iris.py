"""The bundled model and rows for it."""

import csv
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from batchline.constants import IRIS_FLOWERS, IRIS_LABELS, IRIS_MODEL
from benchmarks.classifier import Classifier


def load() -> Classifier:
    stored = json.loads(IRIS_LABELS.read_text())
    labels = [stored[str(index)] for index in range(len(stored))]
    return Classifier(ort.InferenceSession(IRIS_MODEL), labels, _to_tensors)


def _to_tensors(items: Sequence[Any]) -> dict[str, Any]:
    return {"X": np.array([item[0] for item in items], np.float32)}


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
