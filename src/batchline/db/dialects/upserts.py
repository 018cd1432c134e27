"""Write rows of any table in statements of many rows: INSERT, or UPDATE if the key is there."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table

STATEMENT_ROWS = 1_000
STATEMENT_PARAMETERS = 30_000
"""SQLite allows 32,766 and PostgreSQL 65,535."""
STATEMENT_BYTES = 1024 * 1024
"""The smallest default of `max_allowed_packet` is 4 MiB."""

Rows = Sequence[Sequence[Any]]


def write_rows(connection: Connection, table: Table, rows: Rows, key: str | None) -> None:
    """Insert rows, which have a value for each column of the table, in its order.

    Args:
        key: the column whose value finds a row that is replaced. None: rows are only added.
    """
    quote = connection.dialect.identifier_preparer.quote
    names = [quote(column.name) for column in table.columns]
    into = connection.dialect.identifier_preparer.format_table(table)
    head = f"INSERT INTO {into} ({', '.join(names)}) VALUES "
    tail = "" if key is None else _on_conflict(connection, quote(key), names)
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    one = f"({', '.join([mark] * len(names))})"
    for part in _parts(rows, len(names)):
        values = ", ".join([one] * len(part))
        connection.exec_driver_sql(head + values + tail, tuple(chain.from_iterable(part)))


def _on_conflict(connection: Connection, key: str, names: Sequence[str]) -> str:
    others = [name for name in names if name != key]
    if connection.dialect.name in ("mysql", "mariadb"):
        # VALUES() is the only form that MariaDB and every supported MySQL have.
        return " ON DUPLICATE KEY UPDATE " + ", ".join(f"{n} = VALUES({n})" for n in others)
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f" ON CONFLICT ({key}) DO UPDATE SET {changes}"


def _parts(rows: Rows, width: int) -> Iterator[Rows]:
    """Divide rows by number, by number of values and by size."""
    most = max(1, min(STATEMENT_ROWS, STATEMENT_PARAMETERS // width))
    start, size = 0, 0
    for place, row in enumerate(rows):
        row_size = sum(len(value) for value in row if isinstance(value, str))
        if place > start and (place - start == most or size + row_size > STATEMENT_BYTES):
            yield rows[start:place]
            start, size = place, 0
        size += row_size
    if start < len(rows):
        yield rows[start:]
