"""Stored items to tensors, and results of their rows back to items. Pure, as `results` is."""

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, cast

import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import ModelFailed
from batchline.ml.outputs import Failure, Result
from batchline.ml.rows import RowTensors, to_tensor
from batchline.ml.signature import Signature

UTF8_BYTES = 4
"""What a character takes at most."""


Stored = Sequence[tuple[int, str | bytes | None]]
"""Items: id and JSON text, or None where the text is too large."""


@dataclass(frozen=True, slots=True)
class UniformRows:
    """Rows of one shape, and their places among all rows of the batch."""

    rows: RowTensors
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of many items of one model, and whose rows they are.

    The first item's rows come before all others, in `parts` and in their `places`.
    """

    parts: Sequence[UniformRows]
    item_ids: list[int]
    row_counts: list[int]
    failures: dict[int, Failure]


@dataclass(frozen=True, slots=True)
class Results:
    """What became of each item: its prediction as JSON text, or its failure; with the model's id.

    `until` is the last item of those that have an answer, where not all of them have.
    """

    predictions: list[tuple[int, int, str]]
    failures: list[tuple[int, int, str, str]]
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
        return {row[0] for row in self.predictions} | {row[0] for row in self.failures}

    @property
    def model_ids(self) -> set[int]:
        return {row[1] for row in self.predictions} | {row[1] for row in self.failures}


def load_batch(stored: Stored, signature: Signature) -> Batch:
    """Parse and check items; those that the model cannot take fail here.

    The API checked what it registered, but SQL clients insert what they like.
    """
    try:
        items = [orjson.loads(text or b"") for _, text in stored]
    except orjson.JSONDecodeError:
        return _load_one_by_one(stored, signature)
    columns = signature.columns(items)
    if columns is None:
        return _load_one_by_one(stored, signature)
    tensors = {
        each.name: to_tensor(values, each, -1, *dims)
        for each, (values, dims) in zip(signature.inputs, columns, strict=True)
    }
    rows = RowTensors(tensors)
    item_ids = [item_id for item_id, _ in stored]
    row_counts = list(map(len, map(signature.first, items)))
    return Batch([UniformRows(rows, range(len(rows)))], item_ids, row_counts, {})


def _load_one_by_one(stored: Stored, signature: Signature) -> Batch:
    good: list[Any] = []
    item_ids: list[int] = []
    failures: dict[int, Failure] = {}
    for item_id, text in stored:
        data = _parse(text, signature)
        if isinstance(data, Failure):
            failures[item_id] = data
        else:
            item_ids.append(item_id)
            good.append(data)
    row_counts = [len(signature.first(data)) for data in good]
    return Batch(_parts(good, signature), item_ids, row_counts, failures)


def _parse(text: str | bytes | None, signature: Signature) -> Any:
    if text is None:
        return Failure("too_large", f"data is larger than {MAX_BODY_BYTES} bytes")
    try:
        data = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return Failure("invalid_json", f"data is not JSON: {error}")
    faults = signature.faults(data)
    if faults:
        return Failure("invalid_data", f"data{faults[0].pointer}: {faults[0].detail}")
    return data


def _parts(items: Sequence[Any], signature: Signature) -> list[UniformRows]:
    """The items' rows, divided by their shapes and by what is given once an item."""
    divided: dict[Any, list[tuple[int, Any, int]]] = {}
    place = 0
    for number, data in enumerate(items):
        keys = _shapes(data, signature)
        # Rows of several shapes are kept to themselves, so that what was begun is one item's.
        own = number if len(set(keys)) > 1 else None
        once = orjson.dumps([signature.rows(data, each) for each in signature.once])
        for row, key in enumerate(keys):
            divided.setdefault((key, once, own), []).append((place, data, row))
            place += 1
    return [_part(rows, signature) for rows in divided.values()]


def _shapes(data: Any, signature: Signature) -> list[Any]:
    count = len(signature.first(data))
    if signature.is_fixed:
        return [None] * count
    columns = [(each, signature.rows(data, each)) for each in signature.row_inputs]
    return [tuple(each.dims(rows[row]) for each, rows in columns) for row in range(count)]


def _part(rows: Sequence[tuple[int, Any, int]], signature: Signature) -> UniformRows:
    _, data, _ = rows[0]
    tensors = {}
    for each in signature.row_inputs:
        values = [signature.rows(item, each)[row] for _, item, row in rows]
        tensors[each.name] = to_tensor(values, each, len(rows), *each.dims(values[0]))
    once = {}
    for each in signature.once:
        value = signature.rows(data, each)
        once[each.name] = to_tensor(value, each, *each.dims(value))
    return UniformRows(RowTensors(tensors, once), [place for place, _, _ in rows])


def predict_rows(predict: Callable[[RowTensors], list[Result]], rows: RowTensors) -> list[Result]:
    """A result for each row; a row at which the model raises fails alone.

    The batch is halved around what the model refuses: of the order of log2(rows) more calls for
    each bad row.
    """
    try:
        return predict(rows)
    except ModelFailed as error:
        if len(rows) == 1:
            return [Failure(error.code, error.detail)]
    middle = len(rows) // 2
    return predict_rows(predict, rows[:middle]) + predict_rows(predict, rows[middle:])


def to_item_results(batch: Batch, row_results: Sequence[Result | None], model_id: int) -> Results:
    """Results of rows back to items: one object for one row, a list of them for several.

    An item fails as a whole, with the reason of its first bad row. Where results are missing,
    because all of them would have been too large together, the items from the first such one on are
    left out, but for the first item: that one is too large alone.
    """
    if _is_plain(batch, row_results):
        texts = cast("Sequence[str]", row_results)
        models = [model_id] * len(texts)
        return Results(list(zip(batch.item_ids, models, texts, strict=True)), [])
    predictions: list[tuple[int, int, str]] = []
    failures = [(i, model_id, bad.code, bad.detail) for i, bad in batch.failures.items()]
    start, until = 0, None
    for item_id, count in zip(batch.item_ids, batch.row_counts, strict=True):
        rows = row_results[start : start + count]
        if None in rows and start > 0:
            return Results(predictions, failures, until)
        answer = _answer(rows)
        start, until = start + count, item_id
        if isinstance(answer, Failure):
            failures.append((item_id, model_id, answer.code, answer.detail))
        else:
            predictions.append((item_id, model_id, answer))
    return Results(predictions, failures)


def fail_all(item_ids: Iterable[int], failure: Failure, model_id: int) -> Results:
    """The same failure for each of these items."""
    return Results([], [(i, model_id, failure.code, failure.detail) for i in item_ids])


def merge(results: Sequence[Results]) -> Results:
    """The results of several models' items in one range: up to the first item without an answer."""
    cuts = [each.until for each in results if each.until is not None]
    until = min(cuts, default=None)
    if len(results) == 1:  # nearly always
        return results[0]
    predictions = [row for each in results for row in each.predictions]
    failures = [row for each in results for row in each.failures]
    if until is not None:
        predictions = [row for row in predictions if row[0] <= until]
        failures = [row for row in failures if row[0] <= until]
    return Results(predictions, failures, until)


def _is_plain(batch: Batch, row_results: Sequence[Result | None]) -> bool:
    """Whether each item has one row, and each row a prediction; looked at as a whole."""
    return (
        not batch.failures
        and len(batch.item_ids) == sum(batch.row_counts) == len(row_results)
        and set(map(type, row_results)) == {str}
        and max(len(str(text)) for text in row_results) * UTF8_BYTES <= MAX_BODY_BYTES
    )


def _answer(rows: Sequence[Result | None]) -> Result:
    for place, row in enumerate(rows):
        if isinstance(row, Failure):
            where = f"row {place}: " if len(rows) > 1 else ""
            return Failure(row.code, where + row.detail)
    texts: Sequence[Any] = [row for row in rows if row is not None]
    text = texts[0] if len(rows) == 1 else f"[{','.join(texts)}]"
    too_large = len(text) * UTF8_BYTES > MAX_BODY_BYTES and len(text.encode()) > MAX_BODY_BYTES
    if too_large or len(texts) < len(rows):
        return Failure(
            "prediction_too_large", f"the prediction is larger than {MAX_BODY_BYTES} bytes"
        )
    return text
