"""The sequences from which PostgreSQL assigns ids.

They do not know of ids that a client chose itself. MySQL, MariaDB and SQLite pass over those.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, Integer, Table, func, literal, select, text

FIRST_HIGH_ID = 2**63 - 2**32
"""From this id on, hardly any ids are left."""
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


def last_id(connection: Connection, table: Table) -> int:
    """Return the id above which SQLite, MySQL and MariaDB assign the next one."""
    highest = connection.execute(select(func.max(table.c.id))).scalar() or 0
    if connection.dialect.name != "sqlite":
        return int(highest)
    query = text("SELECT max(seq) FROM sqlite_sequence WHERE name = :table")
    assigned = connection.execute(query, {"table": table.name}).scalar() or 0
    return max(int(highest), int(assigned))  # the row with the id may be gone


def restart(connection: Connection, table: Table) -> None:
    """Let SQLite, MySQL and MariaDB go on after the highest id that the table has now."""
    if connection.dialect.name == "sqlite":
        last = f"(SELECT coalesce(max(id), 0) FROM {table.name})"  # noqa: S608, ours
        statement = f"UPDATE sqlite_sequence SET seq = {last} WHERE name = '{table.name}'"  # noqa: S608, ours
    else:
        statement = f"ALTER TABLE {table.name} AUTO_INCREMENT = 1"
    connection.exec_driver_sql(statement)


def _highest_id(connection: Connection, table: Table) -> int:
    """Return the highest id that many ids can follow, or 0."""
    largest = 2**31 - 1 if type(table.c.id.type) is Integer else FIRST_HIGH_ID
    query = select(func.max(table.c.id)).where(table.c.id < literal(largest))
    return int(connection.execute(query).scalar() or 0)
