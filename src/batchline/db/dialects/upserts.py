"""Write rows of any table in statements of many rows: INSERT, or UPDATE if the key is there."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table

from batchline.db.dialects import packets
from batchline.db.dialects.sqlite import STATEMENT_PARAMETERS
from batchline.errors import ValueRejected

STATEMENT_ROWS = 1_000
STATEMENT_BYTES = 1024 * 1024
"""Characters of the texts, if the server allows as much. They are sent as up to four bytes each."""

NUMBERS = {int, float, type(None)}

Rows = Sequence[Sequence[Any]]


def write_rows(connection: Connection, table: Table, rows: Rows, key: str | None) -> None:
    """Insert rows, which have a value for each column of the table, in its order.

    Args:
        key: the column whose value finds a row that is replaced. None: rows are only added.
    """
    quote = connection.dialect.identifier_preparer.quote
    names = [quote(column.name) for column in table.columns]
    into = connection.dialect.identifier_preparer.format_table(table)
    head = f"INSERT INTO {into} ({', '.join(names)}) "
    tail = "" if key is None else _on_conflict(connection, quote(key), names)
    if connection.dialect.name == "postgresql":
        select = _select_from_arrays(connection, into, [column.name for column in table.columns])
        for part in _parts(rows, len(rows), STATEMENT_BYTES):
            arrays = tuple(map(_array, zip(*part, strict=True)))
            connection.exec_driver_sql(head + select + tail, arrays)
        return
    is_sqlite = connection.dialect.name == "sqlite"
    most = max(1, min(STATEMENT_ROWS, STATEMENT_PARAMETERS // len(names)))
    limit = packets.max_values(connection)
    left = None if limit is None else limit - len(head) - len(tail)
    for part in _parts(rows, most, _max_characters(left, most * len(names))):
        if left is not None and len(part) == 1:
            _check_size(part[0], left)
        values, parameters = _marks(part) if is_sqlite else _with_literal_numbers(part)
        connection.exec_driver_sql(f"{head}VALUES {values}{tail}", parameters)


def _check_size(row: Sequence[Any], limit: int) -> None:
    """Check that a row fits into a statement, or the server would close the connection.

    Raises:
        ValueRejected: it does not.
    """
    size = packets.sent_size(row)
    if size > limit:
        raise ValueRejected(
            f"a row takes {size} bytes in a statement, and the database server's "
            f"max_allowed_packet leaves {limit}",
            hint="raise max_allowed_packet on the server, or write to a file with -o",
        )


def _max_characters(limit: int | None, values: int) -> int:
    """Return how many characters a statement with this number of values may have.

    Args:
        limit: bytes of the values as they are sent, or None for no limit of the server.
    """
    if limit is None:
        return STATEMENT_BYTES
    left = max(0, limit - values * packets.VALUE_BYTES) // packets.CHARACTER_BYTES
    return min(STATEMENT_BYTES, left)


def _marks(rows: Rows) -> tuple[str, tuple[Any, ...]]:
    one = f"({', '.join('?' * len(rows[0]))})"
    return ", ".join([one] * len(rows)), tuple(chain.from_iterable(rows))


def _with_literal_numbers(rows: Rows) -> tuple[str, tuple[Any, ...]]:
    """Return the VALUES with numbers as literals, and the other values as parameters.

    PyMySQL escapes each parameter in Python.
    """
    columns = list(zip(*rows, strict=True))
    are_numbers = [NUMBERS.issuperset(map(type, column)) for column in columns]
    pattern = f"({', '.join('%s' if each else '%%s' for each in are_numbers)})"
    pairs = list(zip(columns, are_numbers, strict=True))
    literals = [map(_literal, column) for column, is_number in pairs if is_number]
    texts = [column for column, is_number in pairs if not is_number]
    each_row = zip(*literals, strict=True) if literals else [()] * len(rows)
    return ", ".join(pattern % row for row in each_row), tuple(
        chain.from_iterable(zip(*texts, strict=True))
    )


def _literal(value: float | None) -> str:
    """Return a number as PyMySQL writes it. Without an exponent, a float would be a decimal."""
    if value is None:
        return "NULL"
    text = repr(value)
    return text if type(value) is int or "e" in text else f"{text}e0"


def _select_from_arrays(connection: Connection, table: str, names: Sequence[str]) -> str:
    """Return what makes rows of one array of texts for each column, as the types of the table.

    A type without its length has the database reject a text that is too long, as in VALUES.
    """
    query = (
        "SELECT attname, format_type(atttypid, -1) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
    )
    found = connection.exec_driver_sql(query, (table.replace("%%", "%"),))
    types = {name: type_.replace("%", "%%") for name, type_ in found}
    given = [f"given{place}" for place in range(len(names))]
    casts = [f"{value}::{types[name]}" for value, name in zip(given, names, strict=True)]
    arrays = ", ".join(["%s::text[]"] * len(names))
    return f"SELECT {', '.join(casts)} FROM unnest({arrays}) AS rows ({', '.join(given)})"


def _array(values: Sequence[Any]) -> str:
    """Return an array of PostgreSQL as a text, which is faster than a list of parameters."""
    if {int, float}.issuperset(map(type, values)):
        return f"{{{','.join(map(str, values))}}}"
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value)
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _on_conflict(connection: Connection, key: str, names: Sequence[str]) -> str:
    others = [name for name in names if name != key]
    if connection.dialect.name in ("mysql", "mariadb"):
        # VALUES() is the only form that MariaDB and every supported MySQL have.
        return " ON DUPLICATE KEY UPDATE " + ", ".join(f"{n} = VALUES({n})" for n in others)
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f" ON CONFLICT ({key}) DO UPDATE SET {changes}"


def _parts(rows: Rows, most: int, max_characters: int) -> Iterator[Rows]:
    """Divide rows by number and by size."""
    start, size = 0, 0
    for place, row in enumerate(rows):
        row_size = sum(len(value) for value in row if isinstance(value, str))
        if place > start and (place - start == most or size + row_size > max_characters):
            yield rows[start:place]
            start, size = place, 0
        size += row_size
    if start < len(rows):
        yield rows[start:]
