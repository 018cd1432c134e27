"""Turn a model's outputs into JSON texts, row by row. Pure."""

from collections.abc import Iterable, Sequence
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
    allow_non_finite: bool = False,
) -> list[Result]:
    """Return one result per row of a batch. Outputs have the batch dimension first.

    A classifier, with probabilities as a tensor (rows, classes) or as a ZipMap (a list of
    dictionaries), gives label → probability. Any other model gives output name → value.

    Args:
        allow_non_finite: write NaN and infinity as null, instead of failing the row.

    Raises:
        ModelFailed: the probabilities do not fit the labels.
    """
    if labels is not None:
        probabilities = _probabilities(outputs, len(labels))
        outputs, names = list(np.ascontiguousarray(probabilities.T)), labels
    try:
        texts = _objects(names, [_texts(output) for output in outputs])
    except TypeError as error:  # JSON has no complex numbers, for example
        why = f"the prediction cannot be written as JSON: {error}"
        return [Failure(ModelFailed.code, why)] * len(outputs[0])
    return list(texts) if allow_non_finite else _only_finite(texts, outputs)


def _probabilities(outputs: Sequence[Any], labels: int) -> Any:
    """Return class probabilities as one array (rows, classes)."""
    found = find_probabilities(outputs)
    if isinstance(found, list):
        found = np.array([list(row.values()) for row in found], np.float32)
    if found.shape[1] != labels:
        raise ModelFailed(f"the model gave {found.shape[1]} probabilities for {labels} labels")
    return found


def find_probabilities(outputs: Sequence[Any]) -> Any:
    """Return the output with class probabilities: a ZipMap, or the last one of (rows, classes)."""
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


def _only_finite(texts: list[str], outputs: Sequence[Any]) -> list[Result]:
    """Replace each result that holds NaN or infinity by a failure."""
    fine = np.ones(len(texts), dtype=bool)
    for output in outputs:
        if isinstance(output, np.ndarray) and output.dtype.kind == "f" and output.size:
            fine &= np.isfinite(output).reshape(len(texts), -1).all(axis=1)
        elif not isinstance(output, np.ndarray):
            fine &= [_is_finite(row) for row in output]
    if fine.all():
        return list(texts)
    bad = Failure("prediction_not_finite", "the model gave NaN or infinity for this row")
    return [text if fine[place] else bad for place, text in enumerate(texts)]


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    return not isinstance(value, float | np.floating) or isfinite(value)
