"""A model as the contenders use it, and the check of their predictions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort

SAMPLE = 200
"""Predictions of each run that are compared with the model, spread over all items."""
TOLERANCE = 1e-5
"""A prediction in a batch may differ from an unbatched one in the last digits of a float32."""

StoredItem = tuple[Any, dict[str, float]]
"""The rows of an item, and its stored prediction."""


class WrongResults(Exception):
    """A contender's results are wrong or incomplete, so its time does not count."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model in a session with ONNX Runtime's default options.

    Args:
        to_tensors: turns items of one row, as parsed from JSON, into the model's inputs.
    """

    session: ort.InferenceSession
    labels: list[str]
    to_tensors: Callable[[Sequence[Any]], dict[str, Any]]

    def probabilities(self, items: Sequence[Any]) -> Any:
        """Call the model once, and return an array of (rows, classes)."""
        return self.session.run(["probabilities"], self.to_tensors(items))[0]

    def predict_item(self, item: Any) -> dict[str, float]:
        probabilities = self.probabilities([item])[0]
        return dict(zip(self.labels, map(float, probabilities), strict=True))


def check(stored: Iterable[StoredItem], expected: int, model: Classifier) -> None:
    """Check the number of predictions, and compare a sample of them with the model.

    Raises:
        WrongResults: there are too few or too many predictions, or one is wrong.
    """
    found = list(stored)
    if len(found) != expected:
        raise WrongResults(f"the run must store {expected} predictions, got {len(found)}")
    for rows, prediction in found[:: max(1, expected // SAMPLE)]:
        right = model.predict_item(rows)
        if not _same(prediction, right):
            raise WrongResults(f"the prediction of {rows} must be {right}, got {prediction}")


def _same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        abs(one[label] - other[label]) < TOLERANCE for label in other
    )
