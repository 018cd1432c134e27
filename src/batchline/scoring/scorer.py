"""Predict a block of rows. A row that cannot be read or predicted has its reason instead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from batchline.constants import ERROR_VALUE_MAX_CHARACTERS
from batchline.errors import Failure, Fault, ModelFailed, TimedOut
from batchline.files.blocks import Block, RowError
from batchline.files.kinds import Kind
from batchline.ml import arrow
from batchline.ml.faults import escape, faults
from batchline.ml.predictor import Predictor
from batchline.ml.rows import RowTensors
from batchline.ml.table import tensors
from batchline.scoring.columns import ERROR, MODEL, VERSION, Added

MISSING = "the value is missing (empty, null or NaN), and the model needs one"

Places = np.ndarray[Any, np.dtype[np.int_]]


class Origin(Protocol):
    """Where rows come from, for errors."""

    @property
    def path(self) -> str: ...
    @property
    def row_group(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """The added columns of a block, and what is wrong with its rows."""

    arrays: list[pa.Array]
    errors: Mapping[int, RowError]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A model that predicts blocks of rows. Several threads may call it at once.

    Args:
        kinds: the columns that the model reads, with their types.
        name, version: the values of the columns `model` and `version`.
    """

    predictor: Predictor
    kinds: Mapping[str, Kind]
    added: Added
    name: str
    version: str

    def score(self, block: Block, origin: Origin) -> Scored:
        """Return one prediction, or one reason why there is none, for each row of a block."""
        signature = self.predictor.signature
        rows, good = tensors(arrow.to_table(block.features, signature, block.rows), signature)
        errors = dict(block.errors)
        if good is not None:
            for place in np.flatnonzero(~good & block.good).tolist():
                errors[place] = _located(block, origin, place, *self._fault(block, place))
        places = np.arange(block.rows)
        if errors:
            places = np.delete(places, list(errors))
            rows = rows[places]
        outputs, failed = self._call_all(rows)
        predicted, refused = self._to_arrays(outputs)
        called = np.delete(places, list(failed))
        failures = [(places[at], each) for at, each in failed.items()]
        failures += [(called[at], each) for at, each in refused.items()]
        for place, each in failures:
            errors[int(place)] = _located(block, origin, int(place), each.code, each.detail, "", "")
        if block.ids is not None:
            errors = {row: _with_id(each, block.ids[row]) for row, each in errors.items()}
        if len(called) < block.rows:
            predicted = _spread(predicted, called, block.rows)
        chosen = self.added.choose(predicted)
        return Scored([*chosen, *self._extra(errors, block.rows)], errors)

    def _fault(self, block: Block, place: int) -> tuple[str, str, str, str]:
        """Return what is wrong with the values of a row: code, sentence, column and value."""
        row = {name: array[place].as_py() for name, array in block.features.items()}
        fault = next(iter(faults(row, self.predictor.signature)), None)
        if fault is None:
            return "invalid_data", "the model does not accept the row", "", ""
        column = _column_of(fault, row)
        if column and row[column] is None:
            return fault.code, MISSING, column, ""
        return fault.code, fault.detail, column, str(row.get(column, ""))

    def _call_all(self, rows: RowTensors) -> tuple[list[list[Any]], dict[int, Failure]]:
        """Return the outputs of the calls that succeeded, and the rows at which the model fails.

        After a call with such rows, the next one has so few that about half of these calls fail.
        If most rows fail, the model is then called with each by itself.
        """
        done: list[list[Any]] = []
        failed: dict[int, Failure] = {}
        start, size = 0, self.predictor.batching.call_rows
        while start < len(rows):
            part, before = rows[start : start + size], len(failed)
            for number, outputs in self._call(part):
                if isinstance(outputs, Failure):
                    failed[start] = outputs
                else:
                    done.append(outputs)
                start += number
            found = len(failed) - before
            most = len(part) // (2 * found) if found else 2 * size
            size = min(max(1, most), self.predictor.batching.call_rows)
        return done, failed

    def _to_arrays(self, outputs: list[list[Any]]) -> tuple[list[pa.Array], Mapping[int, Failure]]:
        """Return the outputs of many calls as columns, and the rows with an invalid one."""
        if not outputs:
            return [pa.nulls(0, each.type) for each in self.added.predicted], {}
        predictions = self.predictor.to_predictions(outputs)
        return arrow.to_arrays(predictions, self.added.predicted), predictions.failures

    def _call(self, rows: RowTensors) -> Iterator[tuple[int, list[Any] | Failure]]:
        """Call the model, halving the rows until those at which it fails are isolated."""
        try:
            yield len(rows), self.predictor.outputs(rows)
        except ModelFailed as error:
            if len(rows) == 1:
                yield 1, Failure(error.code, error.detail)
                return
            if isinstance(error, TimedOut):  # each larger call would take the whole time again
                for start in range(len(rows)):
                    yield from self._call(rows[start : start + 1])
                return
            middle = len(rows) // 2
            yield from self._call(rows[:middle])
            yield from self._call(rows[middle:])

    def _extra(self, errors: Mapping[int, RowError], rows: int) -> Iterator[pa.Array]:
        for name in self.added.extra:
            if name == ERROR:
                yield _texts(errors, rows)
            else:
                value = {MODEL: self.name, VERSION: self.version}[name]
                yield pa.repeat(pa.scalar(value), rows)


def _column_of(fault: Fault, row: Mapping[str, object]) -> str:
    """Return the column that a pointer leads to."""
    first = fault.pointer.split("/")[1] if fault.pointer else None
    return next((name for name in row if escape(name) == first), "")


def _located(
    block: Block, origin: Origin, place: int, code: str, detail: str, column: str, value: str
) -> RowError:
    lines = block.lines
    line = None if lines is None else int(lines[place])
    row = block.first_row + place
    return RowError(code, detail, origin.path, row, line, origin.row_group, column, value)


def _with_id(error: RowError, id_: object) -> RowError:
    return replace(error, id=str(id_)[:ERROR_VALUE_MAX_CHARACTERS])


def _spread(arrays: Sequence[pa.Array], places: Places, rows: int) -> list[pa.Array]:
    """Return the arrays with null for the rows that are not among these places."""
    index = np.full(rows, -1)
    index[places] = np.arange(len(places))
    taken = arrow.numbers(index, index < 0)
    return [array.take(taken) for array in arrays]


def _texts(errors: Mapping[int, RowError], rows: int) -> pa.Array:
    if not errors:
        return pa.nulls(rows, pa.string())
    texts: list[str | None] = [None] * rows
    for place, error in errors.items():
        texts[place] = f"{error.code}: {error}"
    return pa.array(texts, pa.string())
