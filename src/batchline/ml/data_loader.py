"""Turn stored items into tensors, and results of rows into results of items. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import orjson

from batchline.constants import MAX_BODY_BYTES
from batchline.errors import Failure, ModelFailed, TimedOut
from batchline.ml import prediction_texts
from batchline.ml.faults import faults
from batchline.ml.forms import Form, form_of, read, split_rows
from batchline.ml.outputs import Labels
from batchline.ml.prediction_texts import TOO_LARGE, Result, RowResults
from batchline.ml.rows import RowTensors
from batchline.ml.signature import Signature
from batchline.ml.table import Mask, Table, joined, tensors

IntArray = np.ndarray[Any, np.dtype[np.int_]]

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

    @property
    def size(self) -> int:
        """The characters of the predictions."""
        return sum(map(len, self.predictions.values()))

    def add(self, other: "ItemResults") -> None:
        """Add the results of other items."""
        self.predictions.update(other.predictions)
        self.failures.update(other.failures)
        self.labels.update(other.labels)

    def without(self, item_ids: Sequence[int]) -> "ItemResults":
        """Return the results without the failures of these items."""
        if not item_ids:
            return self
        gone = set(item_ids)
        failures = {i: each for i, each in self.failures.items() if i not in gone}
        return replace(self, failures=failures)

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
    failures: dict[int, Failure] = {}
    try:
        items = dict(zip(stored, map(orjson.loads, map(_or_empty, stored.values())), strict=True))
    except orjson.JSONDecodeError:
        items = _parse_each(stored, failures)
    if not items:
        return Batch([], [], [], failures)
    found = read(list(items.values()), signature)
    if found is not None:
        table, counts = found
        rows, good = tensors(table, signature)
        if good is None:
            return Batch([UniformRows(rows, range(len(rows)))], list(items), counts, failures)
    return _load_in_parts(items, signature, failures)


def _or_empty(text: str | bytes | None) -> str | bytes:
    return b"" if text is None else text


def _parse_each(stored: Stored, failures: dict[int, Failure]) -> dict[int, Any]:
    items: dict[int, Any] = {}
    for item_id, text in stored.items():
        if text is None:
            failures[item_id] = Failure("too_large", f"data is larger than {MAX_BODY_BYTES} bytes")
            continue
        try:
            items[item_id] = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            failures[item_id] = Failure("invalid_json", f"data is not JSON: {error}{_hint(text)}")
    return items


def _hint(text: str | bytes) -> str:
    has_nan = "NaN" in text if isinstance(text, str) else b"NaN" in text
    return ". Hint: write null for a missing value" if has_nan else ""


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows that were read together.

    `owners` has the position of each row's item, and `numbers` the row's number within its item.
    """

    table: Table
    owners: IntArray
    numbers: IntArray
    is_split: bool = False

    @property
    def key(self) -> tuple[Any, ...]:
        # An item with rows of several shapes has parts of its own.
        return (*self.table.key, int(self.owners[0]) if self.is_split else None)


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one shape as tensors, and which of them are valid."""

    rows: RowTensors
    good: Mask | None
    owners: IntArray
    numbers: IntArray


def _load_in_parts(
    items: Mapping[int, Any], signature: Signature, failures: dict[int, Failure]
) -> Batch:
    """Divide the rows by form and shape, and fail the items that the model does not accept."""
    ids, data = list(items), list(items.values())
    forms: dict[Form | None, list[int]] = {}
    for place, each in enumerate(data):
        forms.setdefault(form_of(each, signature), []).append(place)
    groups: dict[Any, list[_Piece]] = {}
    for places in forms.values():
        for piece in _read_pieces(data, places, signature):
            groups.setdefault(piece.key, []).append(piece)
    parts = [_to_part(pieces, signature) for pieces in groups.values()]
    counts = np.bincount(_concatenated([each.owners for each in parts]), minlength=len(data))
    bad = counts == 0
    for part in parts:
        bad[part.owners[_invalid_rows(part)]] = True
    for place in np.flatnonzero(bad).tolist():
        failures[ids[place]] = _invalid(data[place], signature)
    counts[bad] = 0
    starts = np.cumsum(counts) - counts
    uniform = [_without(part, bad, starts) for part in parts]
    in_order = sorted([each for each in uniform if each.places], key=lambda each: each.places[0])
    item_ids = [ids[place] for place in np.flatnonzero(~bad).tolist()]
    return Batch(in_order, item_ids, counts[~bad].tolist(), failures)


def _read_pieces(
    data: Sequence[Any], places: Sequence[int], signature: Signature
) -> Iterator[_Piece]:
    """Read the items at these places, halving them until those that do not fit are isolated."""
    found = read([data[place] for place in places], signature)
    if found is not None:
        table, counts = found
        owners = np.repeat(places, counts)
        numbers = np.arange(table.rows) - np.repeat(np.cumsum(counts) - counts, counts)
        yield _Piece(table, owners, numbers)
    elif len(places) > 1:
        middle = len(places) // 2
        yield from _read_pieces(data, places[:middle], signature)
        yield from _read_pieces(data, places[middle:], signature)
    elif not faults(data[places[0]], signature):
        for number, row in enumerate(split_rows(data[places[0]], signature)):
            single = read([row], signature)
            if single is not None:
                yield _Piece(single[0], np.array(places), np.array([number]), is_split=True)


def _to_part(pieces: Sequence[_Piece], signature: Signature) -> _Part:
    rows, good = tensors(joined([each.table for each in pieces]), signature)
    owners = _concatenated([each.owners for each in pieces])
    return _Part(rows, good, owners, _concatenated([each.numbers for each in pieces]))


def _concatenated(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate(arrays) if arrays else np.array([], int)


def _invalid_rows(part: _Part) -> IntArray:
    return np.array([], int) if part.good is None else np.flatnonzero(~part.good)


def _without(part: _Part, bad: Mask, starts: IntArray) -> UniformRows:
    """Return the rows of the valid items in the order of their places."""
    places = starts[part.owners] + part.numbers
    keep = np.flatnonzero(~bad[part.owners])
    keep = keep[np.argsort(places[keep])]
    return UniformRows(part.rows[keep], places[keep].tolist())


def _invalid(data: Any, signature: Signature) -> Failure:
    found = faults(data, signature, limit=1)
    if not found:
        return Failure("invalid_data", "the model does not accept the data")
    hint = f". Hint: {found[0].hint}" if found[0].hint else ""
    return Failure("invalid_data", f"data{found[0].pointer}: {found[0].detail}{hint}")


def predict_rows(predict: Callable[[RowTensors], RowResults], rows: RowTensors) -> RowResults:
    """Return a result for each row. A row at which the model raises an error fails in isolation.

    The batch is halved until the bad rows are isolated. Each of them takes about log2(rows) more
    calls. If a call takes too long, all of its rows fail: it would take too long again.
    """
    try:
        return predict(rows)
    except TimedOut as error:
        return RowResults([Failure(error.code, error.detail)] * len(rows))
    except ModelFailed as error:
        if len(rows) == 1:
            return RowResults([Failure(error.code, error.detail)])
    middle = len(rows) // 2
    return prediction_texts.joined(
        predict_rows(predict, rows[:middle]), predict_rows(predict, rows[middle:])
    )


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
        return TOO_LARGE
    return text
