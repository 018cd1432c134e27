"""Stored items to a tensor, and results of its rows back to items. Pure, as `results` is."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np
import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import ModelFailed
from batchline.ml.results import Failure, Result
from batchline.ml.signature import Signature

Tensor = np.ndarray[Any, Any]

UTF8_BYTES = 4
"""What a character takes at most."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of many items in one tensor (batch axis first), and whose rows they are."""

    tensor: Tensor
    item_ids: list[int]
    row_counts: list[int]
    failures: dict[int, Failure]


@dataclass(frozen=True, slots=True)
class Results:
    """What became of each item: its prediction as JSON text, or its failure.

    `until` is the last item of those that have an answer, where not all of them have.
    """

    predictions: list[tuple[int, str]]
    failures: list[tuple[int, str, str]]
    until: int | None = None

    def of(self, item_ids: Container[int]) -> Self:
        """The results of these items only."""
        return replace(
            self,
            predictions=[row for row in self.predictions if row[0] in item_ids],
            failures=[row for row in self.failures if row[0] in item_ids],
        )

    @property
    def item_ids(self) -> set[int]:
        return {i for i, _ in self.predictions} | {i for i, _, _ in self.failures}


def load_batch(stored: Sequence[tuple[int, str | bytes | None]], signature: Signature) -> Batch:
    """Parse and check items (id and JSON text); those that the model cannot take fail here.

    The API checked what it registered, but SQL clients insert what they like.
    """
    try:
        items = [orjson.loads(text or b"") for _, text in stored]
    except orjson.JSONDecodeError:
        return _load_one_by_one(stored, signature)
    values = signature.values(items)
    if values is None:
        return _load_one_by_one(stored, signature)
    item_ids = [item_id for item_id, _ in stored]
    return Batch(_to_tensor(values, signature), item_ids, list(map(len, items)), {})


def _load_one_by_one(
    stored: Sequence[tuple[int, str | bytes | None]], signature: Signature
) -> Batch:
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
    return Batch(_to_tensor(rows, signature), item_ids, row_counts, failures)


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


def _to_tensor(numbers: Sequence[Any], signature: Signature) -> Tensor:
    """Checked rows, or all their values in one flat list, as a tensor (rows, *row shape)."""
    return np.array(numbers, dtype=signature.dtype).reshape(-1, *signature.shape)


def predict_rows(predict: Callable[[Tensor], list[Result]], tensor: Tensor) -> list[Result]:
    """A result for each row; a row at which the model raises fails alone.

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


def assemble(batch: Batch, row_results: Sequence[Result]) -> Results:
    """Results of rows back to items: one object for one row, a list of them for several.

    An item fails as a whole, with the reason of its first bad row. Where results of the last rows
    are missing, because all of them would have been too large together, their items are left out,
    but for the first item: that one is too large alone.
    """
    if _is_plain(batch, row_results):
        return Results(
            list(zip(batch.item_ids, cast("Sequence[str]", row_results), strict=True)), []
        )
    predictions: list[tuple[int, str]] = []
    failures = [(i, bad.code, bad.detail) for i, bad in batch.failures.items()]
    start, until = 0, None
    for item_id, count in zip(batch.item_ids, batch.row_counts, strict=True):
        rows = row_results[start : start + count]
        if len(rows) < count and start > 0:
            return Results(predictions, failures, until)
        answer = _answer(rows)
        start, until = start + count, item_id
        if isinstance(answer, Failure):
            failures.append((item_id, answer.code, answer.detail))
        else:
            predictions.append((item_id, answer))
    return Results(predictions, failures, until if start > len(row_results) else None)


def _is_plain(batch: Batch, row_results: Sequence[Result]) -> bool:
    """Whether each item has one row, and each row a prediction; looked at as a whole."""
    return (
        not batch.failures
        and len(batch.item_ids) == len(batch.tensor) == len(row_results)
        and set(map(type, row_results)) == {str}
        and max(len(str(text)) for text in row_results) * UTF8_BYTES <= MAX_BODY_BYTES
    )


def _answer(rows: Sequence[Result]) -> Result:
    for place, row in enumerate(rows):
        if isinstance(row, Failure):
            where = f"row {place}: " if len(rows) > 1 else ""
            return Failure(row.code, where + row.detail)
    texts: Sequence[Any] = rows
    text = texts[0] if len(rows) == 1 else f"[{','.join(texts)}]"
    if len(text) * UTF8_BYTES > MAX_BODY_BYTES and len(text.encode()) > MAX_BODY_BYTES:
        return Failure(
            "prediction_too_large", f"the prediction is larger than {MAX_BODY_BYTES} bytes"
        )
    return text
