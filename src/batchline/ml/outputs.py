"""Turn a model's outputs into predictions, row by row. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import orjson

from batchline.errors import Failure, ModelFailed
from batchline.ml.signature import NO_LABEL, Output, Signature

Result = str | Failure
"""The result of one row: its prediction as JSON text, or why it has none."""

Labels = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class RowResults:
    """The results of rows, and their labels if the model is a classifier.

    A result is None if the row was left out.
    """

    results: Sequence[Result | None]
    labels: Labels | None = None


def joined(one: RowResults, other: RowResults) -> RowResults:
    """Return the results of two parts of a batch, in which a failed row has no label."""
    labels: Labels | None = None
    if one.labels is not None or other.labels is not None:
        labels = [label for each in (one, other) for label in _or_none(each)]
    return RowResults([*one.results, *other.results], labels)


def _or_none(found: RowResults) -> Labels:
    return found.labels if found.labels is not None else [None] * len(found.results)


@dataclass(frozen=True, slots=True)
class _Distribution:
    """The probabilities of each class, by class name."""

    columns: Mapping[str, Any]


def to_results(
    outputs: Sequence[Any], signature: Signature, *, allow_non_finite: bool = False
) -> RowResults:
    """Return one result per row of a batch. Outputs have the batch dimension first.

    A classifier gives label → probability. Any other model gives output name → value, and so does a
    classifier with further outputs, one of which is label → probability. A classifier's own label
    is beside the prediction.

    Args:
        allow_non_finite: write the strings NaN, Infinity and -Infinity, instead of failing the row.

    Raises:
        ModelFailed: the probabilities do not fit the labels.
    """
    columns = _columns(outputs, signature)
    try:
        texts = _objects(columns, [_texts(column) for column in columns.values()])
    except TypeError as error:  # JSON has no complex numbers, for example
        why = f"the prediction cannot be written as JSON: {error}"
        failure: Result = Failure(ModelFailed.code, why)
        return RowResults([failure] * len(outputs[0]))
    results: list[Result | None] = list(texts)
    finite = np.logical_and.reduce([_finite_rows(each, len(texts)) for each in columns.values()])
    for row in [] if finite.all() else np.flatnonzero(~finite).tolist():
        values = {name: _entry(column, row) for name, column in columns.items()}
        results[row] = _dump(_with_words(values)) if allow_non_finite else _not_finite(values)
    labels = _labels(outputs, columns, signature)
    if labels is not None and None in labels:
        for row, label in enumerate(labels):
            if label is None and signature.label is not None:
                results[row] = _no_class(outputs, signature, row)
    return RowResults(results, labels)


def _columns(outputs: Sequence[Any], signature: Signature) -> dict[str, Any]:
    """Return what a prediction consists of: name → a column with one value per row."""
    labels = signature.labels
    if labels is not None and signature.probabilities is None:  # stored before roles were known
        return dict(_distribution(find_probabilities(outputs), labels).columns)
    columns = {
        each.name: output
        for each, output in zip(signature.outputs, outputs, strict=True)
        if each.name != signature.label and not _is_class_list(each, output, labels)
    }
    if labels is not None and signature.probabilities is not None:
        own = signature.label_values or labels
        found = _distribution(columns[signature.probabilities], labels, own)
        if len(columns) == 1:
            return dict(found.columns)
        columns[signature.probabilities] = found
    if not columns:  # a label is all that the model gives
        return dict(zip([each.name for each in signature.outputs], outputs, strict=True))
    return columns


def _is_class_list(output: Output, column: Any, labels: Sequence[str] | None) -> bool:
    """Whether this is a constant list of the class names, which the prediction has as keys."""
    if not output.constant or labels is None:
        return False
    return list(map(str, np.ravel(column[0]).tolist())) == list(labels)


def _distribution(found: Any, labels: Sequence[str], own: Sequence[str] = ()) -> _Distribution:
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
    return _Distribution(dict(zip(labels, np.ascontiguousarray(found.T), strict=True)))


def _labels(
    outputs: Sequence[Any], columns: Mapping[str, Any], signature: Signature
) -> Labels | None:
    """Return the label of each row, which is None if it is not one of the class names.

    Return None if the model has no labels.
    """
    labels = signature.labels
    if signature.label == NO_LABEL:
        return None
    if signature.label is None:
        if labels is None or signature.probabilities is None:
            return None
        found = columns.get(signature.probabilities)
        by_class = found.columns if isinstance(found, _Distribution) else columns
        numbers = np.stack(list(by_class.values()))
        highest = numbers.argmax(axis=0).tolist()
        finite = np.isfinite(numbers).all(axis=0)
        if finite.all():
            return [labels[column] for column in highest]
        pairs = zip(highest, finite.tolist(), strict=True)
        return [labels[column] if is_finite else None for column, is_finite in pairs]
    own = _label_column(outputs, signature)
    if labels is None:
        return list(map(str, own))
    names: dict[Any, str] = dict(zip(signature.label_values or labels, labels, strict=True))
    if own and type(own[0]) in (int, bool):
        names = {int(value): name for value, name in names.items()}
    return list(map(names.get, own))


def _label_column(outputs: Sequence[Any], signature: Signature) -> list[Any]:
    place = [each.name for each in signature.outputs].index(str(signature.label))
    found: list[Any] = np.ravel(outputs[place]).tolist()
    return found


def _no_class(outputs: Sequence[Any], signature: Signature, row: int) -> Failure:
    label, names = _label_column(outputs, signature)[row], signature.label_values or ()
    classes = ", ".join(names or signature.labels or ())
    why = f"the label must be one of the classes {classes}, got {str(label)[:80]}"
    return Failure(ModelFailed.code, why)


def _entry(column: Any, row: int) -> Any:
    if isinstance(column, _Distribution):
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


def _objects(names: Iterable[str], columns: Sequence[Sequence[str]]) -> list[str]:
    """Return JSON objects, name → value, from one column of values per name."""
    keys = [orjson.dumps(name).decode().replace("%", "%%") for name in names]
    template = "{" + ",".join(f"{key}:%s" for key in keys) + "}"
    return [template % row for row in zip(*columns, strict=True)]


def _texts(output: Any) -> Sequence[str]:
    """Return each row of an output as JSON, floats in the shortest form that reads back the same.

    All numbers are written at once and then cut apart, which takes a third of the time.
    """
    if isinstance(output, _Distribution):
        return _objects(output.columns, [_texts(each) for each in output.columns.values()])
    if isinstance(output, list) and all(each is output[0] for each in output):
        return [_dump(_plain(output[0]))] * len(output)  # a constant
    if not (isinstance(output, np.ndarray) and output.dtype.kind in "fiub" and output.size):
        return [_dump(_plain(row)) for row in output]
    opening, closing = "[" * (output.ndim - 1), "]" * (output.ndim - 1)
    text = _dump(np.ascontiguousarray(output))
    rows = text[output.ndim : -output.ndim].split(f"{closing},{opening}")
    return [f"{opening}{row}{closing}" for row in rows] if opening else rows


def _plain(value: Any) -> Any:
    """Turn arrays of strings, which numpy holds as objects, into lists."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _dump(value: Any) -> str:
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, option=options).decode()


def _finite_rows(output: Any, rows: int) -> Any:
    """Return for each row of an output whether all of its numbers are finite."""
    if isinstance(output, _Distribution):
        return np.isfinite(list(output.columns.values())).all(axis=0)
    if not isinstance(output, np.ndarray):
        return np.array([_is_finite(row) for row in output], dtype=bool)
    if output.dtype.kind != "f" or not output.size:
        return np.ones(rows, dtype=bool)
    return np.isfinite(output).reshape(rows, -1).all(axis=1)


def _not_finite(values: Mapping[str, Any]) -> Failure:
    """Name the first output of a row that is not finite, and its value."""
    name, value = next((n, v) for n, v in values.items() if not _is_finite(v))
    found = np.asarray(list(value.values()) if isinstance(value, dict) else value, dtype=float)
    first = found[~np.isfinite(found)].flat[0]
    return Failure(
        "prediction_not_finite", f"expected finite numbers in {name}, got {_word(first)}"
    )


def _with_words(value: Any) -> Any:
    """Write the numbers that JSON does not have as strings."""
    if isinstance(value, dict):
        return {key: _with_words(each) for key, each in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        if value.ndim == 0:
            return _with_words(value[()])
        return value if np.isfinite(value).all() else [_with_words(each) for each in value]
    if isinstance(value, list | tuple):
        return [_with_words(each) for each in value]
    if isinstance(value, float | np.floating) and not isfinite(value):
        return _word(float(value))
    return _plain(value)


def _word(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    return not isinstance(value, float | np.floating) or isfinite(value)
