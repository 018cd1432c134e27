"""Rows to tensors, outputs to results. Pure: no model, no database, no clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import ModelFailed
from batchline.ml.signature import Signature

Tensor = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item or a row has no prediction."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of many items in one tensor (batch axis first), and whose rows they are."""

    tensor: Tensor
    item_ids: list[int]
    row_counts: list[int]
    failures: dict[int, Failure]


@dataclass(frozen=True, slots=True)
class Results:
    """What became of each item: its prediction as JSON text, or its failure."""

    predictions: list[tuple[int, str]] = field(default_factory=list)
    failures: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def item_ids(self) -> set[int]:
        return {i for i, _ in self.predictions} | {i for i, _, _ in self.failures}


def load_batch(stored: Sequence[tuple[int, str | bytes | None]], signature: Signature) -> Batch:
    """Parse and check items (id and JSON text); those that the model cannot take fail here.

    The API checked what it registered, but SQL clients insert what they like.
    """
    rows: list[Any] = []
    item_ids: list[int] = []
    row_counts: list[int] = []
    failures: dict[int, Failure] = {}
    for item_id, text in stored:
        data = _parse(text, signature)
        if isinstance(data, Failure):
            failures[item_id] = data
            continue
        item_ids.append(item_id)
        row_counts.append(len(data))
        rows.extend(data)
    return Batch(to_tensor(rows, signature), item_ids, row_counts, failures)


def _parse(text: str | bytes | None, signature: Signature) -> list[Any] | Failure:
    if text is None:
        return Failure("too_large", f"data is larger than {MAX_BODY_BYTES} bytes")
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Failure("invalid_json", f"data is not JSON: {error}")
    faults = signature.faults(data)
    if faults:
        return Failure("invalid_data", f"data{faults[0].pointer}: {faults[0].detail}")
    return data  # type: ignore[no-any-return]  # a list, or it had a fault


def to_tensor(rows: Sequence[Any], signature: Signature) -> Tensor:
    """Checked rows as one tensor of shape (rows, *row shape)."""
    tensor = np.array(rows, dtype=signature.dtype)
    return tensor.reshape(len(rows), *signature.shape)


def to_results(
    outputs: Sequence[Any], names: Sequence[str], signature: Signature
) -> list[Any | Failure]:
    """One result for each row, ready for JSON, from what the model gave for a batch.

    A classifier, with probabilities as a tensor (rows, classes) or as a ZipMap (a list of
    dictionaries), gives label -> probability; any other model gives output name -> value.

    Raises:
        ModelFailed: the probabilities do not fit the labels.
    """
    if signature.labels is None:
        results: list[Any] = [
            dict(zip(names, row, strict=True)) for row in zip(*outputs, strict=True)
        ]
        return _only_finite(results, outputs)
    probabilities = find_probabilities(outputs)
    if isinstance(probabilities, list):
        probabilities = np.array([list(row.values()) for row in probabilities], np.float32)
    if probabilities.shape[1] != len(signature.labels):
        raise ModelFailed(
            f"the model gave {probabilities.shape[1]} probabilities for "
            f"{len(signature.labels)} labels"
        )
    results = [dict(zip(signature.labels, row, strict=True)) for row in probabilities]
    return _only_finite(results, [probabilities])


def _only_finite(results: list[Any], outputs: Sequence[Any]) -> list[Any | Failure]:
    """The results, with a failure in place of each that holds NaN or infinity."""
    fine = np.ones(len(results), dtype=bool)
    for output in outputs:
        if isinstance(output, np.ndarray) and output.dtype.kind == "f":
            fine &= np.isfinite(output).reshape(len(results), -1).all(axis=1)
    if fine.all():
        return results
    bad = Failure("prediction_not_finite", "the model gave NaN or infinity for this row")
    return [result if fine[place] else bad for place, result in enumerate(results)]


def find_probabilities(outputs: Sequence[Any]) -> Any:
    """The output that holds class probabilities: a ZipMap, or the last one of (rows, classes)."""
    for output in reversed(outputs):
        if is_zipmap(output):
            return output
        if isinstance(output, np.ndarray) and output.ndim == 2 and output.dtype.kind == "f":
            return output
    return None


def is_zipmap(output: Any) -> bool:
    """Whether this output is a list of dictionaries, label -> probability."""
    return isinstance(output, list) and bool(output) and isinstance(output[0], dict)


def predict_rows(predict: Callable[[Tensor], list[Any]], tensor: Tensor) -> list[Any | Failure]:
    """A result or a failure for each row; a row at which the model raises fails alone.

    The batch is halved around what the model refuses: of the order of log2(rows) more calls for
    each bad row.
    """
    try:
        return predict(tensor)
    except ModelFailed as error:
        if len(tensor) == 1:
            return [Failure(error.code, error.detail)]
    middle = len(tensor) // 2
    return predict_rows(predict, tensor[:middle]) + predict_rows(predict, tensor[middle:])


def assemble(batch: Batch, row_results: Sequence[Any | Failure]) -> Results:
    """Results of rows back to items: one object for one row, a list of them for several.

    An item fails as a whole, with the reason of its first bad row.
    """
    results = Results()
    results.failures.extend((i, bad.code, bad.detail) for i, bad in batch.failures.items())
    start = 0
    for item_id, count in zip(batch.item_ids, batch.row_counts, strict=True):
        answer = _answer(row_results[start : start + count])
        start += count
        if isinstance(answer, Failure):
            results.failures.append((item_id, answer.code, answer.detail))
        else:
            results.predictions.append((item_id, answer))
    return results


def _answer(rows: Sequence[Any | Failure]) -> str | Failure:
    for place, row in enumerate(rows):
        if isinstance(row, Failure):
            where = f"row {place}: " if len(rows) > 1 else ""
            return Failure(row.code, where + row.detail)
    answer = rows[0] if len(rows) == 1 else list(rows)
    try:
        text = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:  # numbers that JSON has not, such as complex ones
        return Failure(ModelFailed.code, f"the prediction cannot be written as JSON: {error}")
    if len(text) > MAX_BODY_BYTES:
        return Failure("prediction_too_large", f"the prediction has {len(text)} bytes")
    return text.decode()
