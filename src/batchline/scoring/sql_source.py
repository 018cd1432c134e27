"""The rows of a query as a source: the same door as files have."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from batchline.db.scoring_source import SourceQuery, Unpredicted
from batchline.db.value_types import SqlColumn
from batchline.errors import Fault
from batchline.file_errors import InvalidColumns
from batchline.files.arrays import nothing, without
from batchline.files.blocks import Block, RowError, Trouble
from batchline.files.columns import missing
from batchline.files.kinds import Kind
from batchline.files.options import WriteOptions
from batchline.files.table_rows import TableRows
from batchline.files.typed import note
from batchline.scoring.sql_values import can_become, feature_array, kept_array, kept_field

QUERY = "query"

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class SqlPart:
    """Rows that were read. They are one block."""

    columns: pa.Schema
    values: Rows
    first_row: int
    key: str | None = None
    path: str = QUERY
    row_group: None = None
    blank_lines: int = 0
    bytes_read: int = 0

    @property
    def rows(self) -> int:
        return len(self.values)

    def detached(self) -> "SqlPart":
        return self

    def blocks(
        self, features: Mapping[str, Kind], keep: Sequence[str] | None = None
    ) -> Iterator[Block]:
        """Return the rows as arrays."""
        names = self.columns.names
        values = dict(zip(names, zip(*self.values, strict=True), strict=True))
        trouble = Trouble()
        found = {
            name: feature_array(values[name], kind, partial(note, trouble, name))
            if name in values
            else nothing(self.rows, kind.arrow_type)
            for name, kind in features.items()
        }
        bad = trouble.mask(self.rows)
        found = {name: without(array, bad) for name, array in found.items()}
        errors = {
            row: RowError(code, detail, self.path, self.first_row + row, None, None, column, value)
            for row, (code, detail, column, value) in trouble.found.items()
        }
        fields = [self.columns.field(name) for name in (names if keep is None else keep)]
        arrays = [kept_array(values[field.name], field) for field in fields]
        kept = TableRows(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)))
        ids = values[self.key] if self.key else None
        yield Block(self.rows, found, kept, errors, self.first_row, ids=ids)


class SqlSource:
    """The rows of a query.

    Args:
        key: the column with the unique id, if there is one.
    """

    format = "sql"
    files = ()
    blank_lines = 0
    total_bytes = None

    def __init__(self, query: SourceQuery, key: str | None = None) -> None:
        self._query = query
        self._key = key
        self.columns = query.columns()
        self.predicted: Callable[[Sequence[Any]], set[Any]] | None = None
        """Returns those of these ids that are left out."""
        self.rows = 0
        self.is_read = False

    def check(self, features: Mapping[str, Kind], keep: Sequence[str] | None = None) -> pa.Schema:
        """Return the columns that are kept for the output.

        Raises:
            InvalidColumns: the query has not the columns that are needed.
        """
        faults = [*self._repeated(), *self._missing([self._key] if self._key else [])]
        required = [name for name, kind in features.items() if not kind.optional]
        faults += self._missing(required, features)
        for name, kind in features.items():
            faults += self._feature_faults(name, kind)
        faults += self._missing(keep or [])
        if faults:
            lines = [f"the query: {fault.detail}" for fault in dict.fromkeys(faults)]
            raise InvalidColumns("\n".join(lines), hint=faults[0].hint, faults=faults)
        kept = self._names if keep is None else keep
        return pa.schema([self._schema.field(name) for name in kept])

    def parts(self) -> Iterator[SqlPart]:
        """Return the rows in the order in which the database gives them."""
        self.rows, self.is_read = 0, False
        place = self._names.index(self._key) if self._key else 0
        for rows in self._query.batches():
            if self.predicted is not None:
                known = self.predicted([row[place] for row in rows])
                rows = [row for row in rows if row[place] not in known]
            if rows:
                yield SqlPart(self._schema, rows, self.rows + 1, self._key)
                self.rows += len(rows)
        self.is_read = True

    def write_options(self, path: str) -> WriteOptions:
        return WriteOptions()

    def only(self, unpredicted: Unpredicted) -> None:
        """Let the database leave out the rows that have a prediction."""
        self._query.only(unpredicted)

    @property
    def _names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([kept_field(column) for column in self.columns])

    def _repeated(self) -> Iterator[Fault]:
        for name, count in Counter(self._names).items():
            if count > 1:
                yield Fault(QUERY, "repeated_column", f"{count} columns are named {name!r}")

    def _missing(self, names: Sequence[str], used: Collection[str] = ()) -> Iterator[Fault]:
        absent = [name for name in dict.fromkeys(names) if name not in self._names]
        hint = f"let the query select {', '.join(absent)}, with AS if a column has another name"
        yield from missing(QUERY, absent, self._names, used, hint=hint)

    def _feature_faults(self, name: str, kind: Kind) -> Iterator[Fault]:
        found: SqlColumn | None = next((c for c in self.columns if c.name == name), None)
        if found is not None and not can_become(found, kind):
            detail = f"{name!r} must be {kind}, but its type is {found.type}"
            yield Fault(QUERY, "wrong_type", detail)
