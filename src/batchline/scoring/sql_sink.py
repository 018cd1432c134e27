"""A table of predictions as a sink: the same door as files have."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from batchline.db.scoring_target import Target
from batchline.db.value_types import SqlColumn
from batchline.file_errors import NotWritten, TableUnfit
from batchline.files.blocks import Kept
from batchline.files.sink import Encoded
from batchline.scoring.sql_values import sql_column

ID_MAX_CHARACTERS = 255


def table_columns(kept: pa.Schema, added: pa.Schema) -> list[SqlColumn]:
    """Return the columns of a table with kept and added columns."""
    return [sql_column(field) for field in [*kept, *added]]


class TableSink:
    """Writes rows into a table, of which a part is visible before the end if it is not replaced.

    Args:
        key: the column with the id, which every row must have.
        error: the column for the reason of a row without a prediction, if there is one.
    """

    def __init__(
        self,
        path: str,
        target: Target,
        kept: pa.Schema,
        added: pa.Schema,
        *,
        key: str | None,
        error: str | None,
    ) -> None:
        self.path = path
        self.rows = 0
        self._target = target
        self._kept = kept
        self._added = added
        self._key = key
        self._error = error

    def encode(self, kept: Kept, new: list[pa.Array]) -> Encoded:
        """Return rows as tuples, with null for each number that is not finite."""
        names = self._added.names
        columns = [_plain(array) for array in kept.table(self._kept).columns]
        if self._key is not None:
            self._check_ids(columns[self._kept.names.index(self._key)])
        added = [_plain(array) for array in new]
        if self._error is not None:
            _flag(new, names, added[names.index(self._error)])
        return Encoded(len(kept), list(zip(*columns, *added, strict=True)))

    def write(self, encoded: Encoded) -> None:
        """Write rows in one or more transactions."""
        self._target.write(encoded.content)
        self.rows += encoded.rows

    def commit(self, rows: int) -> None:
        """Make the table complete.

        Raises:
            NotWritten: another number of rows was written.
        """
        if rows != self.rows:
            raise NotWritten(f"{self.rows} rows of {rows} were written to {self.path}")
        self._target.complete()

    def abort(self) -> None:
        self._target.discard()

    def __enter__(self) -> Self:
        self._target.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.abort()

    def _check_ids(self, ids: Sequence[Any]) -> None:
        for each in ids:
            if each is None or each == "":
                raise TableUnfit(
                    f"a row has no {self._key}", hint="name a column with --id that is never empty"
                )
            if isinstance(each, str) and len(each) > ID_MAX_CHARACTERS:
                raise TableUnfit(
                    f"an id may have {ID_MAX_CHARACTERS} characters, got {len(each)}: {each[:60]}…"
                )


def _plain(array: pa.Array) -> list[Any]:
    """Return the values that a database driver takes. Lists are JSON."""
    if pa.types.is_nested(array.type):
        found = [None if value is None else orjson.dumps(value) for value in array.to_pylist()]
        return [None if value is None else value.decode() for value in found]
    values: list[Any] = array.to_pylist()
    if pa.types.is_floating(array.type):
        for row in _not_finite(array):
            values[row] = None
    elif not (
        pa.types.is_string(array.type)
        or pa.types.is_integer(array.type)
        or pa.types.is_boolean(array.type)
    ):
        return [None if value is None else str(value) for value in values]
    return values


def _not_finite(array: pa.Array) -> list[int]:
    wrong = pc.invert(pc.is_finite(array))
    return np.flatnonzero(wrong.fill_null(False).to_numpy(zero_copy_only=False)).tolist()


def _flag(arrays: Sequence[pa.Array], names: Sequence[str], errors: list[Any]) -> None:
    """Note in the column of errors which predictions were not finite and became null."""
    for name, array in zip(names, arrays, strict=True):
        if pa.types.is_floating(array.type):
            for row in _not_finite(array):
                value = array[row].as_py()
                errors[row] = errors[row] or f"not_finite: {name} is {value}"
