"""A table of predictions: checked or created, written in bounded transactions, put in place."""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnClause, Connection, MetaData, Table, column, inspect, select
from sqlalchemy import table as table_clause
from sqlalchemy.exc import DBAPIError

from batchline.constants import SQL_TRANSACTION_ROWS, IfExists
from batchline.db.database import Database
from batchline.db.dialects import tables
from batchline.db.dialects.errors import is_outage
from batchline.db.dialects.types import TABLE_OPTIONS, UtcDateTime
from batchline.db.dialects.upserts import write_rows
from batchline.db.outages import Patience
from batchline.db.scoring_source import Unpredicted
from batchline.db.table_checks import ExistingTable, check_names
from batchline.db.value_types import SqlColumn, ValueType
from batchline.errors import BatchlineError, CommitUnknown, DatabaseUnavailable
from batchline.file_errors import TableUnfit

BESIDE = "__batchline_"
PREDICTED_AT = "predicted_at"
IDS_PER_STATEMENT = 1_000


@dataclass(frozen=True, slots=True)
class Version:
    """The values that all predictions of a version have, by the name of the column.

    Args:
        error: the column that a prediction leaves null, if there is one.
    """

    values: dict[str, str]
    error: str | None


class Target:
    """A table of predictions.

    Args:
        name: `table` or `schema.table`.
        columns: all but `predicted_at`, which is added.
        key: the column with the id of the row, if there is one.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        columns: Sequence[SqlColumn],
        key: str | None,
        if_exists: IfExists,
    ) -> None:
        self._database = database
        schema, _, self._name = name.rpartition(".")
        self._schema = schema or None
        self._columns = [*columns, SqlColumn(PREDICTED_AT, ValueType.TIME)]
        self._key = key
        self._if_exists = if_exists
        self._is_beside = if_exists in (IfExists.FAIL, IfExists.REPLACE)
        self._existing: ExistingTable | None = None
        self._table: Table | None = None
        self._is_moving = False
        self._is_complete = False
        self.stored = 0
        """How many rows are in the table itself, even if the run does not get any further."""
        self.replaced = 0
        """How many rows had the id of a later row of their transaction, which is in the table."""

    def check(self) -> None:
        """Check names and columns, and write nothing.

        Raises:
            TableUnfit: the table exists and may not, or lacks a column or a unique id.
        """
        with self._database.read() as connection, _rejections(self._name):
            check_names(connection, self._name, [each.name for each in self._columns])
            self._existing = ExistingTable.find(connection, self._name, self._schema)
            if self._existing is None:
                return
            if self._if_exists is IfExists.FAIL:
                raise TableUnfit(
                    f"the table {self._name} exists",
                    hint="add --if-exists replace, append or upsert, or name another table",
                )
            if self._if_exists is IfExists.REPLACE:
                self._existing.check_origin([PREDICTED_AT])
                self._check_dependents(connection)
                return
            names = [each.name for each in self._columns]
            self._existing.check(names, self._key if self._upserts else None)

    def _check_dependents(self, connection: Connection) -> None:
        """Check that the table can be dropped.

        Raises:
            TableUnfit: a view reads it.
        """
        view = tables.dependent_view(connection, self._name, self._schema)
        if view is not None:
            raise TableUnfit(
                f"the view {view} reads the table {self._name}, which can then not be replaced",
                hint="leave out --if-exists replace, or drop the view",
            )

    def unpredicted(self, version: Version) -> Unpredicted | None:
        """Return the condition for a row without a prediction. None: no row has one."""
        if self._existing is None or self._key is None:
            return None
        return Unpredicted(self._name, self._schema, self._key, version.values, version.error)

    def predicted(self, version: Version, ids: Sequence[Any]) -> set[Any]:
        """Return those of these ids that have a prediction by a version."""
        if self._existing is None or self._key is None:
            return set()
        wanted, back = self._existing.keys(self._key, ids)
        key: ColumnClause[Any] = column(self._key, self._existing.columns[self._key]["type"])
        same = [column(name) == value for name, value in version.values.items()]
        if version.error is not None:
            same.append(column(version.error).is_(None))
        place = table_clause(self._name, schema=self._schema)
        found: set[Any] = set()
        with self._database.read() as connection:
            for start in range(0, len(wanted), IDS_PER_STATEMENT):
                part = wanted[start : start + IDS_PER_STATEMENT]
                rows = connection.execute(
                    select(key).select_from(place).where(key.in_(part), *same)
                )
                found.update(back(each) for each in rows.scalars())
        return found

    def open(self) -> None:
        """Create the table, or the one beside it that will take its place.

        Raises:
            TableUnfit: the database does not create it.
        """
        self._drop_left_over()
        name = self._name
        if self._is_beside:
            name = f"{name[:40]}{BESIDE}{secrets.token_hex(4)}"
        self._table = self._new_table(name)
        with _rejections(self._name):
            self._patiently(partial(self._table.create, checkfirst=True), repeatable=True)

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows, or put them in the place of those with the same ids.

        Args:
            rows: a value for each column but the last one.

        Raises:
            TableUnfit: the database rejects a value.
            CommitUnknown: the rows may be stored, and cannot be written again without an id.
        """
        for start in range(0, len(rows), SQL_TRANSACTION_ROWS):
            part = rows[start : start + SQL_TRANSACTION_ROWS]
            if self._upserts:
                part = self._last_of_each(every := part)
                self.replaced += len(every) - len(part)
            self._patiently(partial(self._write_in, rows=part), repeatable=self._upserts)
            self.stored += 0 if self._is_beside else len(part)

    def complete(self) -> None:
        """Put the table in its place, if it is not there already."""
        if self._is_beside:
            assert self._table is not None
            self._patiently(self._put_in_place, repeatable=True)
        self._is_complete = True

    def discard(self) -> None:
        """Drop a table that is not in its place. Otherwise the rows stay."""
        if self._is_beside and self._table is not None and not self._is_complete:
            with suppress(BatchlineError):  # then the next run drops it
                self._database.transaction(partial(self._table.drop, checkfirst=True))

    def close(self) -> None:
        self._database.close()

    @property
    def _upserts(self) -> bool:
        return self._key is not None and self._if_exists is not IfExists.APPEND

    def _new_table(self, name: str) -> Table:
        return Table(
            name,
            MetaData(),
            *[self._column(each) for each in self._columns],
            schema=self._schema,
            **{each: value for each, value in TABLE_OPTIONS.items() if "sqlite" not in each},
        )

    def _column(self, of: SqlColumn) -> Column[Any]:
        is_key = of.name == self._key
        type_ = tables.column_type(of.type, is_short=is_key)
        unique = is_key and self._upserts
        return Column(of.name, type_, primary_key=unique, autoincrement=False, nullable=not is_key)

    def _write_in(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        assert self._table is not None
        now = datetime.now(UTC)
        bind = UtcDateTime().dialect_impl(connection.dialect).bind_processor(connection.dialect)
        time = bind(now) if bind else now
        if self._existing is not None and self._key is not None and not self._is_beside:
            place = [each.name for each in self._columns].index(self._key)
            rows = self._existing.with_keys(self._key, place, rows)
        timed = [(*row, time) for row in rows]
        with _rejections(self._name):
            write_rows(connection, self._table, timed, self._key if self._upserts else None)

    def _last_of_each(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """Return the last row of each id. PostgreSQL rejects an id that comes twice."""
        place = [each.name for each in self._columns].index(self._key or "")
        found = {row[place]: row for row in rows}
        if tables.ignores_spaces(self._database.engine.dialect):
            wrong = next((e for e in found if isinstance(e, str) and e.endswith(" ")), None)
            if wrong is not None:
                raise TableUnfit(
                    f"the id {wrong[:100]!r} ends with a space, which the database ignores",
                    hint="remove the space from the id",
                )
        return list(found.values())

    def _patiently(self, work: Callable[[Connection], None], *, repeatable: bool) -> None:
        """Do `work` in a transaction, and wait for a database that is unavailable.

        Args:
            repeatable: do it again too if the reply to its COMMIT was lost.
        """
        patience = Patience()
        while True:
            try:
                return self._database.transaction(work)
            except DatabaseUnavailable as error:
                if isinstance(error, CommitUnknown) and not repeatable:
                    raise
                patience.wait(error)

    def _put_in_place(self, connection: Connection) -> None:
        assert self._table is not None
        beside = inspect(connection).has_table(self._table.name, schema=self._schema)
        if self._is_moving and not beside:
            return  # an earlier attempt was committed, and the reply was lost
        self._is_moving = True
        is_there = inspect(connection).has_table(self._name, schema=self._schema)
        if is_there and self._if_exists is IfExists.FAIL:
            raise TableUnfit(f"the table {self._name} was created by somebody else meanwhile")
        old = f"{self._name[:40]}{BESIDE}{secrets.token_hex(4)}" if is_there else None
        with _rejections(self._name):
            tables.put_in_place(connection, self._table, self._name, old)

    def _drop_left_over(self) -> None:
        """Drop the tables of runs that were killed. Another run that still fills one then fails."""

        def drop(connection: Connection) -> None:
            quote = connection.dialect.identifier_preparer.quote
            pattern = re.compile(re.escape(self._name[:40] + BESIDE) + "[0-9a-f]{8}")
            for name in inspect(connection).get_table_names(schema=self._schema):
                if pattern.fullmatch(name):
                    tables.drop(
                        connection, ".".join(map(quote, filter(None, [self._schema, name])))
                    )

        self._patiently(drop, repeatable=True)


@contextmanager
def _rejections(name: str) -> Iterator[None]:
    """Turn an error into `TableUnfit`, unless the database is unavailable for a moment."""
    try:
        yield
    except DBAPIError as error:
        if is_outage(error):
            raise
        raise TableUnfit(
            f"the database rejected a statement for the table {name}: {str(error.orig).strip()}"
        ) from error
