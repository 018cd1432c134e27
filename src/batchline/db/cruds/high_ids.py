"""Ids so high that SQLite, MySQL and MariaDB soon have none left to assign.

They assign only ids above all others. PostgreSQL goes on below such an id.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, Table, func, select, update

from batchline.db.dialects import sequences
from batchline.db.models import failures, idempotency_keys, items, predictions

REFERENCES = {items: (predictions, failures, idempotency_keys), predictions: ()}
"""The tables in which clients choose ids, and the tables that name an id of them."""


@dataclass(frozen=True, slots=True)
class NewId:
    """A row that got a lower id."""

    table: str
    old: int
    new: int


def find(connection: Connection) -> dict[str, int]:
    """Return the tables that have hardly any ids left, with the last id that they have assigned."""
    if connection.dialect.name == "postgresql":
        return {}
    found = {table.name: sequences.last_id(connection, table) for table in REFERENCES}
    return {name: last for name, last in found.items() if last >= sequences.FIRST_HIGH_ID}


def replace(connection: Connection) -> Iterator[NewId]:
    """Give lower ids to the rows of such tables, so that others can be assigned again."""
    high = find(connection)
    for table, others in REFERENCES.items():
        if table.name in high:
            yield from _replace(connection, table, others)
            sequences.restart(connection, table)


def _replace(connection: Connection, table: Table, others: tuple[Table, ...]) -> Iterator[NewId]:
    is_high = table.c.id >= sequences.FIRST_HIGH_ID
    below = connection.execute(select(func.max(table.c.id)).where(~is_high)).scalar() or 0
    ids = connection.execute(select(table.c.id).where(is_high).order_by(table.c.id)).scalars()
    for new, old in enumerate(ids.all(), max(0, below) + 1):
        connection.execute(update(table).where(table.c.id == old).values(id=new))
        for other in others:
            named = update(other).where(other.c.item_id == old).values(item_id=new)
            connection.execute(named)
        yield NewId(table.name, old, new)
