"""The sequences from which PostgreSQL assigns ids.

They do not know of ids that a client chose itself. MySQL, MariaDB and SQLite pass over those.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, Integer, Table, func, literal, select, text

LAST = "COALESCE(pg_sequence_last_value(pg_get_serial_sequence(:table, 'id')::regclass), 0)"
"""The last id that was assigned, or 0."""
HAS_SEQUENCE = text("SELECT pg_get_serial_sequence(:table, 'id') IS NOT NULL")
READ_LAST = text(f"SELECT {LAST}")
ADVANCE = text(f"SELECT setval(pg_get_serial_sequence(:table, 'id'), GREATEST(:id, {LAST}))")


def behind(connection: Connection, tables: Iterable[Table]) -> dict[str, int]:
    """Return the tables whose sequence has not reached their highest id, with that id."""
    if connection.dialect.name != "postgresql":
        return {}
    found: dict[str, int] = {}
    for table in tables:
        name = {"table": table.name}
        if "id" not in table.c or not connection.execute(HAS_SEQUENCE, name).scalar_one():
            continue
        highest = _highest_id(connection, table)
        if connection.execute(READ_LAST, name).scalar_one() < highest:
            found[table.name] = highest
    return found


def advance(connection: Connection, tables: Iterable[Table]) -> None:
    """Let each sequence go on after the highest id of its table. It is never set back."""
    for name, highest in behind(connection, tables).items():
        connection.execute(ADVANCE, {"table": name, "id": highest})


def _highest_id(connection: Connection, table: Table) -> int:
    """Return the highest id that an id can follow, or 0."""
    largest = 2**31 - 1 if type(table.c.id.type) is Integer else 2**63 - 1
    query = select(func.max(table.c.id)).where(table.c.id < literal(largest))
    return int(connection.execute(query).scalar() or 0)
