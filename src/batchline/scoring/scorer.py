"""Predict a block of rows. A row that cannot be read or predicted has its reason instead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from batchline.constants import ERROR_VALUE_MAX_CHARACTERS
from batchline.errors import Failure, Fault, ModelFailed
from batchline.files.blocks import Block, RowError
from batchline.files.kinds import Kind
from batchline.ml import arrow
from batchline.ml.faults import escape, faults
from batchline.ml.outputs import Predictions
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
        predicted = self._predict(rows, places, block, origin, errors)
        if block.ids is not None:
            errors = {row: _with_id(each, block.ids[row]) for row, each in errors.items()}
        if len(places) < block.rows:
            predicted = _spread(predicted, places, block.rows)
        return Scored([*predicted, *self._extra(errors, block.rows)], errors)

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

    def _predict(
        self,
        rows: RowTensors,
        places: Places,
        block: Block,
        origin: Origin,
        errors: dict[int, RowError],
    ) -> list[pa.Array]:
        """Return the predicted columns of these rows, and add the rows at which the model fails."""
        pieces: list[list[pa.Array]] = []
        start = 0
        for count, found in self._predictions(rows):
            if isinstance(found, Failure):
                failed: Mapping[int, Failure] = {0: found}
                arrays = [pa.nulls(count, each.type) for each in self.added.predicted]
            else:
                failed = found.failures
                arrays = arrow.to_arrays(found, self.added.predicted)
            for place, failure in failed.items():
                row = int(places[start + place])
                errors[row] = _located(block, origin, row, failure.code, failure.detail, "", "")
            pieces.append(arrays)
            start += count
        if len(pieces) == 1:
            return pieces[0]
        if not pieces:
            return [pa.nulls(0, each.type) for each in self.added.predicted]
        return [pa.concat_arrays(list(each)) for each in zip(*pieces, strict=True)]

    def _predictions(self, rows: RowTensors) -> Iterator[tuple[int, Predictions | Failure]]:
        """Predict rows in calls, and turn the outputs of many calls into columns together."""
        size = self.predictor.batching.call_rows
        done: list[list[Any]] = []
        count = 0
        for start in range(0, len(rows), size):
            for number, outputs in self._call(rows[start : start + size]):
                if not isinstance(outputs, Failure):
                    done.append(outputs)
                    count += number
                    continue
                if done:
                    yield count, self.predictor.to_predictions(done)
                yield 1, outputs
                done, count = [], 0
        if done:
            yield count, self.predictor.to_predictions(done)

    def _call(self, rows: RowTensors) -> Iterator[tuple[int, list[Any] | Failure]]:
        """Call the model, halving the rows until those at which it fails are isolated."""
        try:
            yield len(rows), self.predictor.outputs(rows)
        except ModelFailed as error:
            if len(rows) == 1:
                yield 1, Failure(error.code, error.detail)
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
