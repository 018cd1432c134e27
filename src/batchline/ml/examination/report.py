"""The options of a user for a model, and the result of examining it.

Both are light: a model that was examined before is loaded without the code that examines.
"""

from dataclasses import dataclass
from typing import Any, Self

from batchline.ml.batching import Batching
from batchline.ml.examination.label_file import Names
from batchline.ml.signature import Signature

WARNING = "warning: "
"""The beginning of a note that its reader must act on."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The options of a user for a model.

    Args:
        labels: the class names of a label file, or None for the model's own.
        probabilities: the name of the output with the class probabilities, or None to find it.
        rows_axis: number or name of the batch dimension, `none`, or None to find it.
        allow_non_finite: whether NaN and infinity are written as strings.
        features: the names of the values of a row, or None to find them.
        columns: the names in the signature of an MLflow model, if it is one.
        missing: names of the features that may be missing, or `all`.
        no_missing: names of the features that may not, or `all`.
        missing_text: `VALUE` for the missing values of all string inputs, or `NAME=VALUE`.
    """

    labels: Names | None = None
    probabilities: str | None = None
    rows_axis: str | None = None
    allow_non_finite: bool = False
    features: Names | None = None
    columns: Names | None = None
    missing: Names = ()
    no_missing: Names = ()
    missing_text: Names = ()


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The result of examining a model. `notes` are for people. One may begin with `WARNING`.

    `example` has `data` of one row, and the `prediction` and the `label` that the model gave.
    """

    signature: Signature
    batching: Batching
    notes: tuple[str, ...] = ()
    example: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "signature": self.signature.to_json(),
            "batching": self.batching.to_json(),
            "notes": self.notes,
            "example": self.example,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        return cls(
            Signature.from_json(stored["signature"]),
            Batching.from_json(stored["batching"]),
            tuple(stored["notes"]),
            stored["example"],
        )
