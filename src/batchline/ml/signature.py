"""The inputs and outputs of a version. Pure: the API checks rows with it and loads no model."""

from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import Any, Self

from batchline.ml.inputs import Input

NO_LABEL = ""

SIGNATURE_FORMAT = 3
"""The format of a stored signature.

1 or no number: before the roles of all outputs were known. 2: before missing values and the names
of features were known.
"""


@dataclass(frozen=True, slots=True)
class Output:
    """One output, with its declared shape. If it is `per_row`, the batch dimension is left out.

    Args:
        per_row: whether it has an entry per row. Otherwise the whole output belongs to the only row
            of the call.
        axis: the batch dimension of its tensor.
        listed: whether it is a sequence of tensors, each of which has the batch dimension.
        constant: whether it is computed from no input, so that it is the same for each row.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] = ()
    per_row: bool = True
    axis: int = 0
    listed: bool = False
    constant: bool = False


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of one version of a model.

    Args:
        labels: the class names of a classifier, in the order of their index, otherwise None.
        probabilities: the name of the output that has their probabilities.
        label: the name of the output that has the classifier's own label. If it is None, the label
            is the name of the highest probability. `NO_LABEL`: it is not known which output has it.
        label_values: the values of that output in the order of the classes, if they are others than
            the class names.
        features: the names of the values of a row, if there is one input with rows `[n]`.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...] = ()
    labels: tuple[str, ...] | None = None
    probabilities: str | None = None
    label: str | None = None
    label_values: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        labels, label_values = stored["labels"], stored.get("label_values")
        features = stored.get("features")
        return cls(
            inputs=tuple(map(Input.from_json, stored["inputs"])),
            outputs=tuple(
                Output(**{**each, "shape": tuple(each["shape"])}) for each in stored["outputs"]
            ),
            labels=None if labels is None else tuple(labels),
            probabilities=stored.get("probabilities"),
            label=stored.get("label"),
            label_values=None if label_values is None else tuple(label_values),
            features=None if features is None else tuple(features),
        )

    @property
    def is_plain(self) -> bool:
        """Whether there is only one input, so that its rows can be sent as a list."""
        return len(self.inputs) == 1

    @cached_property
    def row_inputs(self) -> list[Input]:
        """Return the inputs with a batch dimension; there is at least one."""
        return [each for each in self.inputs if not each.per_item]

    @cached_property
    def once(self) -> list[Input]:
        """Return the inputs that are given once per item."""
        return [each for each in self.inputs if each.per_item]

    @property
    def is_fixed(self) -> bool:
        """Whether all rows have the same shape."""
        return all(type(size) is int for each in self.inputs for size in each.shape)

    @cached_property
    def values_per_row(self) -> int | None:
        """Return the number of values of a row, or None if it depends on the row or the item."""
        if self.once or not self.is_fixed:
            return None
        return sum(prod(map(int, each.shape)) for each in self.inputs)

    @property
    def has_records(self) -> bool:
        """Whether a row can be an object, name → value."""
        return not self.once

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of a record: the features, or else the inputs."""
        return self.features or tuple(each.name for each in self.inputs)

    def example(self) -> Any:
        """Return valid data of one row, as a record if it has names that mean something."""
        if self.features is not None:
            values = self.inputs[0].example()
            return [dict(zip(self.features, values, strict=True))]
        if self.is_plain:
            return [self.inputs[0].example()]
        if self.has_records:
            return [{each.name: each.bare_example() for each in self.inputs}]
        return {e.name: e.example() if e.per_item else [e.example()] for e in self.inputs}
