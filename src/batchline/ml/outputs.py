"""Turn a model's outputs into JSON texts, row by row. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import orjson

from batchline.errors import Failure, ModelFailed

Result = str | Failure
"""The result of one row: its prediction as JSON text, or why it has none."""


def to_results(
    outputs: Sequence[Any],
    names: Sequence[str],
    labels: Sequence[str] | None,
    *,
    probabilities: str | None = None,
    allow_non_finite: bool = False,
) -> list[Result]:
    """Return one result per row of a batch. Outputs have the batch dimension first.

    A classifier, with probabilities as a tensor (rows, classes) or as a ZipMap (a list of
    dictionaries), gives label → probability. Any other model gives output name → value.

    Args:
        probabilities: name of the output with the probabilities of the labels; None for a version
            that was added before this was stored.
        allow_non_finite: write the strings NaN, Infinity and -Infinity, instead of failing the row.

    Raises:
        ModelFailed: the probabilities do not fit the labels.
    """
    if labels is not None:
        if probabilities is None:
            found = find_probabilities(outputs)
        else:
            found = outputs[list(names).index(probabilities)]
        outputs, names = list(np.ascontiguousarray(_as_array(found, len(labels)).T)), labels
    try:
        texts = _objects(names, [_texts(output) for output in outputs])
    except TypeError as error:  # JSON has no complex numbers, for example
        why = f"the prediction cannot be written as JSON: {error}"
        return [Failure(ModelFailed.code, why)] * len(outputs[0])
    finite = [_finite_rows(output, len(texts)) for output in outputs]
    if all(rows.all() for rows in finite):
        return list(texts)
    results: list[Result] = list(texts)
    for row in np.flatnonzero(~np.logical_and.reduce(finite)).tolist():
        values = dict(zip(names, (output[row] for output in outputs), strict=True))
        results[row] = _dump(_with_words(values)) if allow_non_finite else _not_finite(values)
    return results


def _as_array(found: Any, labels: int) -> Any:
    """Return class probabilities as one array (rows, classes)."""
    if isinstance(found, list):
        found = np.array([list(row.values()) for row in found], np.float32)
    if found.shape[1] != labels:
        raise ModelFailed(f"the model gave {found.shape[1]} probabilities for {labels} labels")
    return found


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


def _texts(output: Any) -> list[str]:
    """Return each row of an output as JSON, floats in the shortest form that reads back the same.

    All numbers are written at once and then cut apart, which takes a third of the time.
    """
    if not (isinstance(output, np.ndarray) and output.dtype.kind in "fiub" and output.size):
        return [_dump(_plain(row)) for row in output]
    opening, closing = "[" * (output.ndim - 1), "]" * (output.ndim - 1)
    text = _dump(np.ascontiguousarray(output))
    rows = text[output.ndim : -output.ndim].split(f"{closing},{opening}")
    return [f"{opening}{row}{closing}" for row in rows] if opening else rows


def _plain(value: Any) -> Any:
    """Turn an array of strings, which numpy holds as objects, into a list."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "OU":
        return value.tolist()
    return value


def _dump(value: Any) -> str:
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, option=options).decode()


def _finite_rows(output: Any, rows: int) -> Any:
    """Return for each row of an output whether all of its numbers are finite."""
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
