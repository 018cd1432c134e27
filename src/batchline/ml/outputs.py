"""Turn a model's outputs into predictions, which are columns with one value per row. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from batchline.errors import Failure, ModelFailed
from batchline.ml.label_places import NOWHERE, known_places
from batchline.ml.signature import NO_LABEL, Output, Signature

Labels = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Distribution:
    """The probabilities of each class, by class name, one per row."""

    columns: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """The label of each row, as its place in a small table.

    Args:
        places: one integer per row. It is negative if the row has no label.
        names: the labels, each once.
    """

    places: Any
    names: Sequence[str]

    def texts(self) -> list[str | None]:
        """Return the label of each row."""
        found: list[str | None] = np.array([*self.names, None], object)[self.places].tolist()
        return found


@dataclass(frozen=True, slots=True)
class Predictions:
    """The predictions of rows, column by column.

    Args:
        columns: name → one value per row: an array, a list, or a `Distribution`.
        labels: a classifier's own labels, otherwise None.
        failures: row → why it has no prediction.
        finite: whether all numbers of a row are finite.
    """

    rows: int
    columns: Mapping[str, Any]
    labels: LabelColumn | None
    failures: Mapping[int, Failure]
    finite: Any

    @property
    def by_name(self) -> Mapping[str, Any]:
        """Return the columns with the names of a prediction: those of its classes if it has no
        other outputs."""
        return _by_name(self.columns)


def to_predictions(
    outputs: Sequence[Any],
    signature: Signature,
    *,
    allow_non_finite: bool = False,
    has_places: bool = False,
) -> Predictions:
    """Return one prediction per row of a batch. Outputs have the batch dimension first.

    A classifier gives label → probability. Any other model gives output name → value, and so does a
    classifier with further outputs, one of which is label → probability. A classifier's own label
    is beside the prediction.

    Args:
        allow_non_finite: accept NaN and infinity, instead of failing the row.
        has_places: the label is the place of its class, or a text that is none of the classes.

    Raises:
        ModelFailed: the probabilities do not fit the labels.
    """
    rows = len(outputs[0])
    columns = _columns(outputs, signature)
    finite = np.logical_and.reduce([_finite_rows(each, rows) for each in columns.values()])
    failures: dict[int, Failure] = {}
    if not allow_non_finite and not finite.all():
        for row in np.flatnonzero(~finite).tolist():
            failures[row] = _not_finite(row_of(_by_name(columns), row))
    labels = _labels(outputs, columns, signature, has_places=has_places)
    if labels is not None and signature.label is not None:
        for row in np.flatnonzero(labels.places < 0).tolist():
            failures[row] = _no_class(outputs, signature, row)
    return Predictions(rows, columns, labels, failures, finite)


def _by_name(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    first = next(iter(columns.values()))
    return first.columns if len(columns) == 1 and isinstance(first, Distribution) else columns


def row_of(columns: Mapping[str, Any], row: int) -> dict[str, Any]:
    """Return the values of one row."""
    return {name: _entry(column, row) for name, column in columns.items()}


def _columns(outputs: Sequence[Any], signature: Signature) -> dict[str, Any]:
    """Return what a prediction consists of: name → a column with one value per row."""
    labels = signature.labels
    if labels is not None and signature.probabilities is None:  # stored before roles were known
        return {"": _distribution(find_probabilities(outputs), labels)}
    columns = {
        each.name: output
        for each, output in zip(signature.outputs, outputs, strict=True)
        if each.name != signature.label and not _is_class_list(each, output, labels)
    }
    if labels is not None and signature.probabilities is not None:
        own = signature.label_values or labels
        found = _distribution(columns[signature.probabilities], labels, own)
        columns[signature.probabilities] = found
    if not columns:  # a label is all that the model gives
        return dict(zip([each.name for each in signature.outputs], outputs, strict=True))
    return columns


def _is_class_list(output: Output, column: Any, labels: Sequence[str] | None) -> bool:
    """Whether this is a constant list of the class names, which the prediction has as keys."""
    if not output.constant or labels is None:
        return False
    return list(map(str, np.ravel(column[0]).tolist())) == list(labels)


def _distribution(found: Any, labels: Sequence[str], own: Sequence[str] = ()) -> Distribution:
    """Return the columns of an output (rows, classes), or of a ZipMap.

    Args:
        own: the model's own names of the classes. ONNX Runtime sorts those of a ZipMap.
    """
    if isinstance(found, list):
        keys = list(map(str, found[0]))
        found = np.array([list(row.values()) for row in found], np.float32)
        if keys != list(own) and set(keys) == set(own):
            found = found[:, [keys.index(name) for name in own]]
    if found.shape[1] != len(labels):
        raise ModelFailed(f"the model gave {found.shape[1]} probabilities for {len(labels)} labels")
    return Distribution(dict(zip(labels, np.ascontiguousarray(found.T), strict=True)))


def _labels(
    outputs: Sequence[Any],
    columns: Mapping[str, Any],
    signature: Signature,
    *,
    has_places: bool,
) -> LabelColumn | None:
    """Return the label of each row. A row has none if it is not one of the class names.

    Return None if the model has no labels.
    """
    labels = signature.labels
    if signature.label == NO_LABEL:
        return None
    if signature.label is None:
        if labels is None or signature.probabilities is None:
            return None
        numbers = np.stack(list(columns[signature.probabilities].columns.values()))
        finite = np.isfinite(numbers).all(axis=0)
        return LabelColumn(np.where(finite, numbers.argmax(axis=0), NOWHERE), labels)
    own = _label_column(outputs, signature)
    if labels is None:
        texts = list(map(str, own.tolist()))
        names = list(dict.fromkeys(texts))
        return LabelColumn(_places_of(texts, names), names)
    if has_places:
        return LabelColumn(known_places(own), labels)
    values = signature.label_values or labels
    if own.dtype.kind in "iub":
        return LabelColumn(_places_of_integers(own, list(map(int, values))), labels)
    return LabelColumn(_places_of(own.tolist(), values), labels)


def _places_of(found: Sequence[Any], values: Sequence[Any]) -> Any:
    """Return the place of each found value among these values, or `NOWHERE`."""
    places = {value: place for place, value in enumerate(values)}
    try:
        return np.fromiter(map(places.__getitem__, found), np.intp, len(found))
    except KeyError:
        return np.array([places.get(value, NOWHERE) for value in found], np.intp)


def _places_of_integers(found: Any, values: Sequence[int]) -> Any:
    order = np.argsort(values)
    ordered = np.array(values)[order]
    near = np.minimum(np.searchsorted(ordered, found), len(values) - 1)
    return np.where(ordered[near] == found, order[near], NOWHERE)


def _label_column(outputs: Sequence[Any], signature: Signature) -> Any:
    place = [each.name for each in signature.outputs].index(str(signature.label))
    return np.ravel(outputs[place])


def _no_class(outputs: Sequence[Any], signature: Signature, row: int) -> Failure:
    label, names = _label_column(outputs, signature)[row], signature.label_values or ()
    classes = ", ".join(names or signature.labels or ())
    why = f"the label must be one of the classes {classes}, got {str(label)[:80]}"
    return Failure(ModelFailed.code, why)


def _entry(column: Any, row: int) -> Any:
    if isinstance(column, Distribution):
        return {name: each[row] for name, each in column.columns.items()}
    return column[row]


def find_probabilities(outputs: Sequence[Any]) -> Any:
    """Return a ZipMap, or the last output of (rows, classes): for versions that do not name it."""
    for output in reversed(outputs):
        if is_zipmap(output):
            return output
        if isinstance(output, np.ndarray) and output.ndim == 2 and output.dtype.kind == "f":
            return output
    return None


def is_zipmap(output: Any) -> bool:
    """Whether this output is a list of dictionaries, label → probability."""
    return isinstance(output, list) and bool(output) and isinstance(output[0], dict)


def _finite_rows(output: Any, rows: int) -> Any:
    """Return for each row of an output whether all of its numbers are finite."""
    if isinstance(output, Distribution):
        return np.isfinite(list(output.columns.values())).all(axis=0)
    if not isinstance(output, np.ndarray):
        return np.array([next(_infinite(row), None) is None for row in output], dtype=bool)
    if output.dtype.kind != "f" or not output.size:
        return np.ones(rows, dtype=bool)
    return np.isfinite(output).reshape(rows, -1).all(axis=1)


def _not_finite(values: Mapping[str, Any]) -> Failure:
    """Name the first output of a row that is not finite, and its value."""
    name, first = next((name, each) for name in values for each in _infinite(values[name]))
    return Failure("prediction_not_finite", f"expected finite numbers in {name}, got {word(first)}")


def _infinite(value: Any) -> Iterator[float]:
    """Return the numbers of a value, of any nesting, that are not finite."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f":
            yield from map(float, value[~np.isfinite(value)])
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _infinite(each)
    elif isinstance(value, float | np.floating) and not isfinite(value):
        yield float(value)


def word(value: float) -> str:
    """Return a number that JSON does not have."""
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
