"""Turn stored items into tensors, and results of rows into results of items. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any, cast

import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import Failure, ModelFailed
from batchline.ml.outputs import Labels, Result, RowResults, joined
from batchline.ml.rows import RowTensors, to_tensor
from batchline.ml.signature import Signature

UTF8_BYTES = 4
"""Bytes that a character takes at most."""


Stored = Mapping[int, str | bytes | None]
"""Items: id → JSON text, or None if the text is too large."""


@dataclass(frozen=True, slots=True)
class UniformRows:
    """Rows of one shape, and their positions among all rows of the batch."""

    rows: RowTensors
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of many items of one model, and how many belong to each item.

    The first item's rows come before all others, in `parts` and in their `places`.
    """

    parts: Sequence[UniformRows]
    item_ids: list[int]
    row_counts: list[int]
    failures: dict[int, Failure]


@dataclass(frozen=True, slots=True)
class ItemResults:
    """Results of items: item id → prediction as JSON text, and item id → failure.

    Args:
        until: the last item with a result, if not all items have one.
        labels: the labels of a classifier, by item id; a JSON list for an item with several rows.
    """

    predictions: dict[int, str]
    failures: dict[int, Failure]
    until: int | None = None
    labels: dict[int, str] = field(default_factory=dict)

    @property
    def item_ids(self) -> list[int]:
        return [*self.predictions, *self.failures]

    def up_to(self, item_id: int) -> "ItemResults":
        """Return the results of the items up to this one."""
        return ItemResults(
            {i: text for i, text in self.predictions.items() if i <= item_id},
            {i: failure for i, failure in self.failures.items() if i <= item_id},
            item_id,
            self.labels,
        )


def load_batch(stored: Stored, signature: Signature) -> Batch:
    """Parse and check items. Invalid items fail here.

    The API has checked the items that it registered, but SQL clients may insert anything.
    """
    try:
        items = [orjson.loads(text or b"") for text in stored.values()]
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
    item_ids = list(stored)
    row_counts = list(map(len, _first_columns(items, signature)))
    return Batch([UniformRows(rows, range(len(rows)))], item_ids, row_counts, {})


def _first_columns(items: Sequence[Any], signature: Signature) -> Sequence[Any]:
    """The rows of each item for the first input, of items that are all lists or all objects."""
    if type(items[0]) is list:
        return items
    return list(map(itemgetter(signature.row_inputs[0].name), items))


def _load_one_by_one(stored: Stored, signature: Signature) -> Batch:
    good: list[Any] = []
    item_ids: list[int] = []
    failures: dict[int, Failure] = {}
    for item_id, text in stored.items():
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
    """Divide the rows of items by their shapes, and by the inputs that are given once per item."""
    divided: dict[Any, list[tuple[int, Any, int]]] = {}
    place = 0
    for number, data in enumerate(items):
        keys = _shapes(data, signature)
        # An item with rows of several shapes has parts of its own.
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


def predict_rows(predict: Callable[[RowTensors], RowResults], rows: RowTensors) -> RowResults:
    """Return a result for each row. A row at which the model raises an error fails in isolation.

    The batch is halved until the bad rows are isolated. Each of them takes about log2(rows) more
    calls.
    """
    try:
        return predict(rows)
    except ModelFailed as error:
        if len(rows) == 1:
            return RowResults([Failure(error.code, error.detail)])
    middle = len(rows) // 2
    return joined(predict_rows(predict, rows[:middle]), predict_rows(predict, rows[middle:]))


def to_item_results(batch: Batch, found: RowResults) -> ItemResults:
    """Turn results of rows into results of items: an object for one row, a list for several.

    An item fails as a whole, with the reason of its first bad row. Results are missing if all of
    them would have been too large together. Then the items from the first missing one on are left
    out, except for the first item: that one alone is too large.
    """
    if _is_plain(batch, found.results):
        texts = cast("Sequence[str]", found.results)
        labels = {} if found.labels is None else _by_item(batch.item_ids, found.labels)
        return ItemResults(dict(zip(batch.item_ids, texts, strict=True)), {}, labels=labels)
    results = ItemResults({}, dict(batch.failures))
    start, until = 0, None
    for item_id, count in zip(batch.item_ids, batch.row_counts, strict=True):
        rows = found.results[start : start + count]
        if None in rows and start > 0:
            return replace(results, until=until)
        result = _to_item_result(rows)
        if isinstance(result, Failure):
            results.failures[item_id] = result
        else:
            results.predictions[item_id] = result
            if found.labels is not None:
                label = _to_item_label(found.labels[start : start + count])
                results.labels.update({} if label is None else {item_id: label})
        start, until = start + count, item_id
    return results


def _by_item(item_ids: Sequence[int], labels: Labels) -> dict[int, str]:
    pairs = zip(item_ids, labels, strict=True)
    return {item_id: label for item_id, label in pairs if label is not None}


def _to_item_label(labels: Labels) -> str | None:
    return labels[0] if len(labels) == 1 else orjson.dumps(labels).decode()


def _is_plain(batch: Batch, row_results: Sequence[Result | None]) -> bool:
    """Whether each item has one row, and each row a prediction. All are checked at once."""
    return (
        not batch.failures
        and len(batch.item_ids) == sum(batch.row_counts) == len(row_results)
        and set(map(type, row_results)) == {str}
        and max(map(len, cast("Sequence[str]", row_results))) * UTF8_BYTES <= MAX_BODY_BYTES
    )


def _to_item_result(rows: Sequence[Result | None]) -> Result:
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
