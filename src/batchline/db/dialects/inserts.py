"""Insert many rows in the quickest way that each driver has."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import (
    Connection,
    Table,
    insert,
)

from batchline.db.dialects.types import SQLITE_NOW

STATEMENT_BYTES = 1024 * 1024


STATEMENT_ROWS = 1_000
"""A multi-row INSERT ends at either; the smallest `max_allowed_packet` in use is 4 MiB."""


COPY_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})
COPY_SPECIAL = re.compile(r"[\\\n\r\t]")
COPY_ROWS = 100
"""From so many rows on PostgreSQL's COPY is quicker than an INSERT, one more round trip and all."""


def insert_returning_ids(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> list[int]:
    """One multi-row INSERT; the new ids in the order of the rows.

    MySQL, MariaDB and SQLite give one statement's rows consecutive ids and name the first or the
    last, which is a multiple quicker than RETURNING them. The step is `@@auto_increment_increment`,
    which is not 1 under group replication or Galera. On PostgreSQL ids grow along a statement's
    rows, so sorted ids are in that order too (RETURNING promises none).
    """
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_ROWS:
        return _copy_returning_ids(connection, table, columns, rows)
    statement, values = _multi_row(connection, table, columns, rows)
    if connection.dialect.name == "sqlite":
        last = connection.exec_driver_sql(statement, values).lastrowid
        return list(range(last - len(rows) + 1, last + 1))
    if connection.dialect.name == "postgresql":
        returned = connection.exec_driver_sql(f"{statement} RETURNING id", values)
        return sorted(returned.scalars())
    first = connection.exec_driver_sql(statement, values).lastrowid
    step = _id_step(connection)
    return list(range(first, first + step * len(rows), step))


def _id_step(connection: Connection) -> int:
    """Asked once on each connection: a session's own value only that session can change."""
    if "id_step" not in connection.info:
        step = connection.exec_driver_sql("SELECT @@auto_increment_increment").scalar_one()
        connection.info["id_step"] = step
    return int(connection.info["id_step"])


def _copy_returning_ids(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> list[int]:
    """Take the ids first, as one text, and COPY them with their rows; see `_copy`."""
    take = (
        f"SELECT string_agg(nextval(pg_get_serial_sequence('{table}', 'id'))::text, ',')"
        " FROM generate_series(1, %s)"
    )
    taken: str = connection.exec_driver_sql(take, (len(rows),)).scalar_one()
    ids = sorted(map(int, taken.split(",")))
    numbered = [(item_id, *row) for item_id, row in zip(ids, rows, strict=True)]
    connection.exec_driver_sql(f"COPY {table} (id, {', '.join(columns)}) FROM STDIN", numbered)
    return ids


def copy_rows(cursor: Any, statement: str, rows: Any, context: Any) -> bool:
    """Do a COPY where SQLAlchemy would execute many, so that errors are treated like all others."""
    if not statement.startswith("COPY "):
        return False
    with cursor.copy(statement) as copy:
        copy.write(_copy_text(rows))
    return True


def _copy_text(rows: Sequence[tuple[Any, ...]]) -> str:
    """Write rows in COPY's text format: column by column, in a third of psycopg's time by row."""
    columns = map(_copy_column, zip(*rows, strict=True))
    return "".join(f"{line}\n" for line in map("\t".join, zip(*columns, strict=True)))


def _copy_column(values: Sequence[Any]) -> Sequence[str]:
    types = set(map(type, values))
    if types == {int}:
        return list(map(str, values))
    if types == {str} and not COPY_SPECIAL.search("".join(values)):
        return values
    return [r"\N" if value is None else str(value).translate(COPY_ESCAPES) for value in values]


def insert_many(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows in bulk, if any, the quickest way that the driver has.

    That is COPY on PostgreSQL, in a fifth of executemany's time, and elsewhere a multi-row
    statement built in one go: half of executemany's time with SQLite's driver, two thirds with
    PyMySQL.
    """
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_ROWS:
        connection.exec_driver_sql(f"COPY {table} ({', '.join(columns)}) FROM STDIN", list(rows))
        return
    for part in _parts(rows):
        connection.exec_driver_sql(*_multi_row(connection, table, columns, part))


def _multi_row(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> tuple[str, tuple[Any, ...]]:
    """One INSERT for all rows, and its parameters."""
    names = ", ".join(columns)
    if connection.dialect.name == "mysql":
        values, parameters = _with_literal_integers(rows)
        return f"INSERT INTO {table} ({names}) VALUES {values}", parameters
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    one = f"({', '.join([mark] * len(columns))})"
    values = f"VALUES {', '.join([one] * len(rows))}"
    parameters = tuple(chain.from_iterable(rows))
    if connection.dialect.name != "sqlite":
        return f"INSERT INTO {table} ({names}) {values}", parameters
    # SQLite would work out the default of created_at for each row, which is a third of all.
    given = ", ".join(f"column{number}" for number in range(1, len(columns) + 1))
    select = f"SELECT {given}, (SELECT {SQLITE_NOW}) FROM ({values})"
    return f"INSERT INTO {table} ({names}, created_at) {select}", parameters


def _with_literal_integers(rows: Sequence[tuple[Any, ...]]) -> tuple[str, tuple[Any, ...]]:
    """Rows in which only texts are parameters.

    PyMySQL escapes each parameter in Python, which takes as long as the rest of the statement.
    """
    columns = list(zip(*rows, strict=True))
    is_integer = [set(map(type, column)) == {int} for column in columns]
    pattern = f"({', '.join('%d' if each else '%%s' for each in is_integer)})"
    integers = [column for column, each in zip(columns, is_integer, strict=True) if each]
    texts = [column for column, each in zip(columns, is_integer, strict=True) if not each]
    each_row = zip(*integers, strict=True) if integers else [()] * len(rows)
    values = ", ".join(pattern % row for row in each_row)
    return values, tuple(chain.from_iterable(zip(*texts, strict=True)))


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(rows), STATEMENT_ROWS):
        part = rows[start : start + STATEMENT_ROWS]
        if sum(map(_size, part)) <= STATEMENT_BYTES:
            yield part
        else:
            yield from _smaller_parts(part)


def _smaller_parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    part: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        part.append(row)
        size += _size(row)
        if size >= STATEMENT_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _size(row: tuple[Any, ...]) -> int:
    return len(row[-1])  # the longest text is in the last column, or no longer than that


def insert_one(connection: Connection, table: Table, **values: Any) -> int:
    """Insert one row and return its id."""
    key = connection.execute(insert(table).values(values)).inserted_primary_key
    assert key is not None
    return int(key[0])
