"""Statements about the use of API keys: items per day, and when a key was last used."""

from collections.abc import Collection, Mapping
from datetime import date

from sqlalchemy import Connection, insert, select, update

from batchline.db.dialects.types import utc_now
from batchline.db.models import api_keys, key_usage

Use = Mapping[tuple[int, date], int]
"""The number of items by key and day."""


def save(connection: Connection, items: Use, used: Collection[int]) -> Use:
    """Add items of this process, and take down which keys are in use. Return the items of all.

    Raises:
        Conflict: another transaction stores the first items of a key's day; try again.
    """
    if used:
        of_keys = api_keys.c
        query = update(api_keys).where(of_keys.id.in_(sorted(used)))
        connection.execute(query.values(last_used_at=utc_now()))
    of = key_usage.c
    total = {}
    for (key_id, day), count in sorted(items.items()):  # so that transactions wait in one order
        is_key_day = of.key_id == key_id, of.day == day
        more = update(key_usage).where(*is_key_day).values(items=of["items"] + count)
        if connection.execute(more).rowcount == 0:
            connection.execute(insert(key_usage).values(key_id=key_id, day=day, items=count))
        stored = connection.execute(select(of["items"]).where(*is_key_day))
        total[key_id, day] = int(stored.scalar_one())
    return total


def of_day(connection: Connection, day: date) -> Use:
    """Return the items of each key on this day."""
    of = key_usage.c
    rows = connection.execute(select(of.key_id, of["items"]).where(of.day == day))
    return {(key_id, day): int(items) for key_id, items in rows}
