"""Insert many rows in the fastest way of each driver."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    insert,
)

from batchline.db.dialects import packets
from batchline.db.dialects.packets import Columns, row_count, rows
from batchline.db.dialects.sqlite import STATEMENT_PARAMETERS
from batchline.db.dialects.types import SQLITE_NOW

STATEMENT_BYTES = 4 * 1024 * 1024
STATEMENT_ROWS = 1_000
"""Limits of a multi-row INSERT, if the server allows as much."""


COPY_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
COPY_SPECIAL = re.compile(r"[\\\n\r\t]")
COPY_ROWS = 100
"""From this number of rows, PostgreSQL's COPY is faster than an INSERT despite its extra round
trip."""


def insert_returning_ids(connection: Connection, table: str, columns: Columns) -> list[int]:
    """Insert rows and return their ids in the order of the rows.

    It is one statement, if the database takes one of that size.

    MySQL, MariaDB and SQLite give the rows of one statement consecutive ids and report the first or
    the last one. This is several times faster than RETURNING. On MySQL and MariaDB, consecutive ids
    differ by `@@auto_increment_increment`, which is not 1 with group replication or Galera.
    PostgreSQL assigns increasing ids to the rows of one statement, but RETURNING guarantees no
    order, so the ids are sorted.
    """
    if connection.dialect.name == "sqlite":
        return _insert_on_sqlite(connection, table, columns)
    if connection.dialect.name in ("mysql", "mariadb"):
        return _insert_returning_ids(connection, table, columns)
    if row_count(columns) >= COPY_ROWS:
        return _copy_returning_ids(connection, table, columns)
    statement, values = _multi_row(connection, table, columns)
    returned = connection.exec_driver_sql(f"{statement} RETURNING id", values)
    return sorted(returned.scalars())


def _insert_on_sqlite(connection: Connection, table: str, columns: Columns) -> list[int]:
    most = STATEMENT_PARAMETERS // len(columns)
    ids: list[int] = []
    for start in range(0, row_count(columns), most):
        part = rows(columns, start, start + most)
        last = connection.exec_driver_sql(*_multi_row(connection, table, part)).lastrowid
        ids += range(last - row_count(part) + 1, last + 1)
    return ids


def _insert_returning_ids(connection: Connection, table: str, columns: Columns) -> list[int]:
    step, packet = packets.session(connection)
    ids: list[int] = []
    for part in packets.parts(columns, packet - packets.HEAD_BYTES):
        first = connection.exec_driver_sql(*_multi_row(connection, table, part)).lastrowid
        ids += range(first, first + step * row_count(part), step)
    return ids


def _copy_returning_ids(connection: Connection, table: str, columns: Columns) -> list[int]:
    """Reserve ids, which arrive as one string, and COPY the rows with them."""
    take = (
        f"SELECT string_agg(nextval(pg_get_serial_sequence('{table}', 'id'))::text, ',')"
        " FROM generate_series(1, %s)"
    )
    taken: str = connection.exec_driver_sql(take, (row_count(columns),)).scalar_one()
    ids = sorted(map(int, taken.split(",")))
    _copy(connection, table, {"id": ids, **columns})
    return ids


def _copy(connection: Connection, table: str, columns: Columns) -> None:
    # SQLAlchemy takes each column for a row of parameters, and `copy_rows` gets them as columns.
    parameters: Any = list(map(tuple, columns.values()))
    connection.exec_driver_sql(f"COPY {table} ({', '.join(columns)}) FROM STDIN", parameters)


def copy_rows(cursor: Any, statement: str, columns: Any, context: Any) -> bool:
    """Execute a COPY in place of SQLAlchemy's `executemany`, so that its errors are translated too.

    Return False for any other statement.
    """
    if not statement.startswith("COPY "):
        return False
    with cursor.copy(statement) as copy:
        copy.write(_copy_text(columns))
    return True


def _copy_text(columns: Sequence[Sequence[Any]]) -> str:
    """Return the rows of these columns in COPY's text format.

    Formatting by column takes a third of the time that psycopg takes by row.
    """
    texts = map(_copy_column, columns)
    return "".join(f"{line}\n" for line in map("\t".join, zip(*texts, strict=True)))


def _copy_column(values: Sequence[Any]) -> Sequence[str]:
    types = set(map(type, values))
    if types == {int}:
        return list(map(str, values))
    if types == {str} and not COPY_SPECIAL.search("".join(values)):
        return values
    return [r"\N" if value is None else str(value).translate(COPY_ESCAPES) for value in values]


def insert_many(connection: Connection, table: str, columns: Columns) -> None:
    """Insert any number of rows in the fastest way of the driver.

    On PostgreSQL this is COPY, which takes a fifth of the time of `executemany`. On the other
    databases it is a multi-row INSERT, which takes half of that time with SQLite's driver and two
    thirds with PyMySQL.
    """
    if connection.dialect.name == "postgresql" and row_count(columns) >= COPY_ROWS:
        _copy(connection, table, columns)
        return
    for part in _parts(connection, columns):
        connection.exec_driver_sql(*_multi_row(connection, table, part))


def insert_new(connection: Connection, table: str, columns: Columns) -> int:
    """Insert the rows whose primary key the table does not have, and return how many.

    If another transaction is inserting the same key, wait for its end. Transactions that insert
    several keys must have them in the same order, or they wait for each other.
    """
    if connection.dialect.name == "postgresql":
        return _unnest_new(connection, table, columns)
    word = "OR IGNORE" if connection.dialect.name == "sqlite" else "IGNORE"
    count = 0
    for part in _parts(connection, columns):
        statement, values = _multi_row(connection, table, part)
        ignoring = statement.replace("INSERT", f"INSERT {word}", 1)
        count += connection.exec_driver_sql(ignoring, values).rowcount
    return count


def _unnest_new(connection: Connection, table: str, columns: Columns) -> int:
    """Insert the rows as one array per column, which takes no longer than COPY."""
    types = ("bigint[]" if type(column[0]) is int else "text[]" for column in columns.values())
    arrays = ", ".join(f"%s::{each}" for each in types)
    into = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"
    values = tuple(map(list, columns.values()))
    return connection.exec_driver_sql(f"{into} ON CONFLICT DO NOTHING", values).rowcount


def _multi_row(connection: Connection, table: str, columns: Columns) -> tuple[str, tuple[Any, ...]]:
    """Return an INSERT of all rows, and its parameters."""
    names = ", ".join(columns)
    if connection.dialect.name == "mysql":
        values, parameters = _with_literal_integers(columns)
        return f"INSERT INTO {table} ({names}) VALUES {values}", parameters
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    one = f"({', '.join([mark] * len(columns))})"
    values = f"VALUES {', '.join([one] * row_count(columns))}"
    parameters = tuple(chain.from_iterable(zip(*columns.values(), strict=True)))
    if connection.dialect.name != "sqlite":
        return f"INSERT INTO {table} ({names}) {values}", parameters
    # One created_at for all rows: SQLite's default for each row takes a third of the INSERT's time.
    given = ", ".join(f"column{number}" for number in range(1, len(columns) + 1))
    select = f"SELECT {given}, (SELECT {SQLITE_NOW}) FROM ({values})"
    return f"INSERT INTO {table} ({names}, created_at) {select}", parameters


def _with_literal_integers(columns: Columns) -> tuple[str, tuple[Any, ...]]:
    """Return the VALUES with integers as literals, and the remaining values as parameters.

    PyMySQL escapes each parameter in Python, which takes as long as the rest of the statement.
    """
    is_integer = {name: set(map(type, column)) == {int} for name, column in columns.items()}
    pattern = f"({', '.join('%d' if each else '%%s' for each in is_integer.values())})"
    integers = [column for name, column in columns.items() if is_integer[name]]
    texts = [column for name, column in columns.items() if not is_integer[name]]
    each_row = zip(*integers, strict=True) if integers else [()] * row_count(columns)
    values = ", ".join(pattern % row for row in each_row)
    return values, tuple(chain.from_iterable(zip(*texts, strict=True)))


def _parts(connection: Connection, columns: Columns) -> Iterator[Columns]:
    """Divide the rows by number and by size."""
    limit = min(packets.max_values(connection) or STATEMENT_BYTES, STATEMENT_BYTES)
    for start in range(0, row_count(columns), STATEMENT_ROWS):
        yield from packets.parts(rows(columns, start, start + STATEMENT_ROWS), limit)


def insert_one(connection: Connection, table: Table, **values: Any) -> int:
    """Insert one row and return its id."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])
