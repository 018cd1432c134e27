"""The rows of a user's query, read as one stream in a read-only transaction.

The query itself is the user's text. What is added to it are quoted names and parameters.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, CursorResult
from sqlalchemy.exc import DBAPIError

from batchline.constants import SQL_CHUNK_BYTES, SQL_CHUNK_FIRST_ROWS, SQL_CHUNK_ROWS
from batchline.db.database import Database
from batchline.db.dialects import streams
from batchline.db.dialects.errors import is_outage, is_read_only
from batchline.db.outages import Patience
from batchline.db.value_types import SqlColumn, ValueType
from batchline.errors import DatabaseUnavailable
from batchline.file_errors import QueryFailed, SourceLost

QUERY = "batchline_query"
TARGET = "batchline_target"

Rows = Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Unpredicted:
    """The condition that a table of the same database has no prediction for the row yet.

    Args:
        table, schema: the table of predictions.
        key: its column with the id of the row.
        values: the columns that a prediction of this version has, with their values.
        error: the column that a prediction leaves null, if there is one.
    """

    table: str
    schema: str | None
    key: str
    values: dict[str, str]
    error: str | None


class SourceQuery:
    """A query of a user.

    Args:
        key: the column with a unique id. The rows come in its order, and a connection that is lost
            is replaced: the stream goes on after the last id. None: the rows come as they come.
    """

    def __init__(self, database: Database, query: str, key: str | None = None) -> None:
        self._database = database.another(timeout=None)
        self._query = query.strip().rstrip(";").rstrip()
        self._key = key
        self._unpredicted: Unpredicted | None = None
        self._reading: Generator[Rows, None, None] | None = None

    def close(self) -> None:
        """Close the connections, also if the rows were not read to their end."""
        if self._reading is not None:
            self._reading.close()
        self._database.close()

    def only(self, unpredicted: Unpredicted) -> None:
        """Leave out the rows that have a prediction already."""
        self._unpredicted = unpredicted

    def columns(self) -> list[SqlColumn]:
        """Return the columns without reading a row.

        Raises:
            QueryFailed: the database rejects the query.
        """
        with self._connection() as connection, _rejections():
            found = streams.columns_of(
                self._run(connection, f"SELECT * FROM {self._wrapped} LIMIT 0")
            )
            return [self._typed(connection, column) for column in found]

    def _typed(self, connection: Connection, column: SqlColumn) -> SqlColumn:
        """Return the key with the type of its first value, if the database tells no types."""
        if column.type is not ValueType.UNKNOWN or column.name != self._key:
            return column
        name = _quote(connection, column.name)
        first = f"SELECT typeof({name}) FROM {self._wrapped} WHERE {name} IS NOT NULL LIMIT 1"
        is_integer = self._run(connection, first).scalar() == "integer"
        return SqlColumn(column.name, ValueType.INTEGER if is_integer else ValueType.TEXT)

    def batches(self) -> Iterator[Rows]:
        """Return the rows, a few thousand at a time. They can be read once at a time.

        It ends only after the database has said that there are no more rows.

        Raises:
            QueryFailed: the database ends the query with an error, or the key is null or repeated.
            SourceLost: the connection is lost, and there is no key to continue after.
        """
        self._reading = self._batches()
        return self._reading

    def _batches(self) -> Generator[Rows, None, None]:
        position = _Position(self._key)
        patience = Patience()
        while True:
            try:
                for rows in self._stream(position):
                    patience.reset()
                    yield rows
                return
            except DatabaseUnavailable as error:
                if self._key is None:
                    raise SourceLost(
                        f"the connection was lost after {position.rows} rows: {error.detail}",
                        hint="name a unique column with --id: then the run continues after its "
                        "last value",
                    ) from error
                patience.wait(error)

    def _stream(self, position: "_Position") -> Iterator[Rows]:
        position.resume()
        with self._connection() as connection:
            with _rejections():
                result = self._open(connection, position)
            cursor = result.cursor
            try:
                yield from self._chunks(result, position)
            except BaseException:
                streams.abandon(result, cursor)
                raise

    def _open(self, connection: Connection, position: "_Position") -> CursorResult[Any]:
        connection = connection.execution_options(stream_results=True)
        if self._key is None and self._unpredicted is None:
            return _run_plain(connection, self._query)
        conditions, parameters = self._conditions(connection, position)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        order = f" ORDER BY {QUERY}.{_quote(connection, self._key)}" if self._key else ""
        return self._run(connection, f"SELECT * FROM {self._wrapped}{where}{order}", parameters)

    def _conditions(
        self, connection: Connection, position: "_Position"
    ) -> tuple[list[str], tuple[Any, ...]]:
        conditions: list[str] = []
        parameters: list[Any] = []
        mark = _mark(connection)
        if self._key is not None and position.last is not None:
            conditions.append(f"{QUERY}.{_quote(connection, self._key)} >= {mark}")
            parameters.append(position.last)
        if self._unpredicted is not None:
            assert self._key is not None
            key = f"{QUERY}.{_quote(connection, self._key)}"
            conditions.append(f"NOT EXISTS ({_anti_join(connection, self._unpredicted, key)})")
            parameters += self._unpredicted.values.values()
        return conditions, tuple(parameters)

    def _chunks(self, result: CursorResult[Any], position: "_Position") -> Iterator[Rows]:
        names = list(result.keys())
        place = None if self._key is None else names.index(self._key)
        size = SQL_CHUNK_FIRST_ROWS
        while True:
            with _rejections():
                rows = result.fetchmany(size)
            if not rows:
                return
            size = _next_size(rows, size)
            if new := position.advance(rows, place):
                yield new

    @property
    def _wrapped(self) -> str:
        """The query as a table, with each % doubled as in the names that are quoted."""
        doubled = self._database.engine.dialect.paramstyle != "qmark"
        query = self._query.replace("%", "%%") if doubled else self._query
        return f"(\n{query}\n) AS {QUERY}"

    def _run(
        self, connection: Connection, statement: str, parameters: tuple[Any, ...] = ()
    ) -> CursorResult[Any]:
        if parameters:
            return connection.exec_driver_sql(statement, parameters)
        if _mark(connection) == "%s":
            statement = statement.replace("%%", "%")
        return _run_plain(connection, statement)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._database.read() as connection:
            streams.prepare(connection)
            yield connection


class _Position:
    """How far a stream is, so that another one can continue it."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._recent: set[Any] = set()
        self._again: set[Any] = set()
        self.last: Any = None
        self.rows = 0

    def resume(self) -> None:
        """Expect a stream of the rows whose key is not less than the last one.

        It repeats the last row, and others whose texts are equal in the order of the database.
        """
        self._again = self._recent

    def advance(self, rows: Rows, place: int | None) -> Rows:
        """Return the rows that are new."""
        if place is not None:
            rows = [row for row in rows if row[place] not in self._again] if self._again else rows
            ids = [row[place] for row in rows]
            self._check(ids)
            if ids:
                self._recent, self.last = set(ids), ids[-1]
        self.rows += len(rows)
        return rows

    def _check(self, ids: Sequence[Any]) -> None:
        if None in ids:
            raise QueryFailed(
                f"{self._key} is null in row {self.rows + ids.index(None) + 1} of the query",
                hint=f"add `WHERE {self._key} IS NOT NULL` to the query",
            )
        seen = set(self._recent)
        for each in ids:
            if each in seen:
                raise QueryFailed(
                    f"two rows of the query have the {self._key} {str(each)[:100]!r}",
                    hint="name a column with --id whose values are unique",
                )
            seen.add(each)


def _anti_join(connection: Connection, of: Unpredicted, key: str) -> str:
    quote = connection.dialect.identifier_preparer.quote
    table = ".".join(quote(name) for name in (of.schema, of.table) if name)
    same = [f"{TARGET}.{quote(of.key)} = {key}"]
    same += [f"{TARGET}.{quote(name)} = {_mark(connection)}" for name in of.values]
    if of.error is not None:
        same.append(f"{TARGET}.{quote(of.error)} IS NULL")
    return f"SELECT 1 FROM {table} AS {TARGET} WHERE {' AND '.join(same)}"


def _run_plain(connection: Connection, statement: str) -> CursorResult[Any]:
    """Run a statement in which the driver leaves each % as it is."""
    return connection.execution_options(no_parameters=True).exec_driver_sql(statement)


def _next_size(rows: Rows, size: int) -> int:
    """Return how many rows to fetch next, so that they have about `SQL_CHUNK_BYTES`."""
    found = sum(len(v) for row in rows for v in row if isinstance(v, str | bytes))
    average = found / len(rows) + 8 * len(rows[0]) + 1
    return max(1, min(SQL_CHUNK_ROWS, 2 * size, int(SQL_CHUNK_BYTES / average)))


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


def _quote(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


def _query_hint(message: str) -> str:
    if re.search("no such|does not exist|doesn't exist|Unknown (column|table|database)", message):
        return "correct the name in the query, or choose the database with SOURCE_DATABASE_URL"
    return "--query takes one SELECT, with another name for each column"


@contextmanager
def _rejections() -> Iterator[None]:
    """Turn an error into `QueryFailed`, unless the connection is lost or the server unavailable."""
    try:
        yield
    except DBAPIError as error:
        if is_outage(error) and not is_read_only(error):  # the query's own transaction is
            raise
        raise QueryFailed(
            f"the database rejected the query: {str(error.orig).strip()}",
            hint=_query_hint(str(error.orig)),
        ) from error
