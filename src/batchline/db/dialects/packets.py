"""The largest statement that a server of MySQL or MariaDB takes: its `max_allowed_packet`.

A larger one fails, and the server closes the connection. PyMySQL writes parameters into the
statement, where quotation marks and backslashes become two characters. So JSON texts grow by up to
a half, and a binary value doubles.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

Columns = Mapping[str, Sequence[Any]]
"""Rows by column, in the order of the columns. Columns of the same length need no tuple per row."""

SMALLEST_PACKET = 1024 * 1024
"""The smallest `max_allowed_packet` with which every statement fits that has no large value."""
HEAD_BYTES = 2048
"""The part of a statement that is not its values."""
VALUE_BYTES = 32
"""A number, or the punctuation of another value."""
CHARACTER_BYTES = 4
"""No character of a text takes more, in UTF-8 or escaped."""
ESCAPED = "\0\n\r\x1a\"'\\"
ESCAPED_BYTES = [character.encode() for character in ESCAPED]
"""The characters before which PyMySQL writes a backslash."""


def max_packet(connection: Connection) -> int | None:
    """Return `max_allowed_packet`, or None if the database has no such limit."""
    return session(connection)[1] if connection.dialect.name in ("mysql", "mariadb") else None


def max_values(connection: Connection) -> int | None:
    """Return how many bytes the values of a statement may take, as they are sent."""
    packet = max_packet(connection)
    return None if packet is None else packet - HEAD_BYTES


def session(connection: Connection) -> tuple[int, int]:
    """Return `auto_increment_increment` and `max_allowed_packet`, read once per connection.

    While it lasts, the first one can be changed by the session itself only, and the second one by
    nobody.
    """
    if "session" not in connection.info:
        query = "SELECT @@auto_increment_increment, @@max_allowed_packet"
        connection.info["session"] = connection.exec_driver_sql(query).one()
    step, packet = connection.info["session"]
    return int(step), int(packet)


def too_large(connection: Connection, columns: Columns) -> dict[int, int]:
    """Return the rows, by their place, that no statement can hold, with their sizes as sent."""
    limit = max_values(connection)
    if limit is None or at_most(columns) <= limit:
        return {}
    sizes = enumerate(map(sent_size, zip(*columns.values(), strict=True)))
    return {place: size for place, size in sizes if size > limit}


def parts(columns: Columns, limit: int) -> Iterator[Columns]:
    """Divide rows into statements with at most `limit` bytes of values, if no row has more."""
    if at_most(columns) <= limit:
        yield columns
        return
    start, size = 0, 0
    for place, row in enumerate(zip(*columns.values(), strict=True)):
        row_size = sent_size(row)
        if place > start and size + row_size > limit:
            yield rows(columns, start, place)
            start, size = place, 0
        size += row_size
    yield rows(columns, start, row_count(columns))


def rows(columns: Columns, start: int, end: int) -> Columns:
    return {name: column[start:end] for name, column in columns.items()}


def row_count(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def at_most(columns: Columns) -> int:
    """Return a size that the values do not exceed as they are sent, without looking into them."""
    values = row_count(columns) * len(columns)
    return VALUE_BYTES * values + CHARACTER_BYTES * sum(map(_length, columns.values()))


def sent_size(row: Sequence[Any]) -> int:
    """Return the size of the values of a row as they are sent."""
    return VALUE_BYTES * len(row) + sum(map(_sent_size, row))


def _length(column: Sequence[Any]) -> int:
    if not column or type(column[0]) is int:
        return 0
    try:
        return sum(map(len, column))
    except TypeError:  # there are other values too
        return sum(len(value) for value in column if isinstance(value, str | bytes))


def _sent_size(value: Any) -> int:
    if isinstance(value, str):
        size = len(value) if value.isascii() else len(value.encode(errors="surrogatepass"))
        return size + sum(map(value.count, ESCAPED))
    if isinstance(value, bytes):
        return len(value) + sum(map(value.count, ESCAPED_BYTES))
    return 0
