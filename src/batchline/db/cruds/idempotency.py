"""Statements that store idempotency keys with the items they registered."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    select,
)

from batchline.db.cruds import items
from batchline.db.dialects.inserts import insert_many
from batchline.db.models import idempotency_keys
from batchline.db.new_items import Key, NewItems
from batchline.errors import IdempotencyKeyReused

Registered = int | IdempotencyKeyReused
"""The id of a registered item, or why it was rejected."""


def find_items(connection: Connection, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the requests and the item ids of the keys that are known."""
    table = idempotency_keys.c
    query = select(table.key_sha256, table.data_sha256, table.item_id)
    rows = connection.execute(query.where(table.key_sha256.in_(keys)))
    return {key: (data, item_id) for key, data, item_id in rows}


def store(connection: Connection, keys: Sequence[tuple[Key, int]]) -> None:
    """Store which item each key belongs to.

    Raises:
        Conflict: another transaction was faster with one of the keys.
    """
    columns: dict[str, Sequence[Any]] = {
        "item_id": [item_id for _, item_id in keys],
        "data_sha256": [key.data for key, _ in keys],
        "key_sha256": [key.key for key, _ in keys],
    }
    insert_many(connection, "idempotency_keys", columns)


def register(connection: Connection, new: NewItems) -> Sequence[Registered]:
    """Store items with their keys. A key that is known gives the id of its item.

    Raises:
        Conflict: another transaction was faster with one of the keys; try again.
    """
    keys = new.keys
    if not any(keys):
        return items.register(connection, new)
    known = find_items(connection, [key.key for key in keys if key])
    # An item is stored for each registration without a key, and for the first with each new key.
    slots = [key.key if key else str(index) for index, key in enumerate(keys)]
    first: dict[str, int] = {}
    for index, slot in enumerate(slots):
        if slot not in known:
            first.setdefault(slot, index)
    ids = items.register(connection, new.at(list(first.values())))
    stored = [(slot, keys[first[slot]], item_id) for slot, item_id in zip(first, ids, strict=True)]
    store(connection, [(key, item_id) for _, key, item_id in stored if key])
    known |= {slot: (key.data if key else "", item_id) for slot, key, item_id in stored}
    return [_check_data(key, *known[slot]) for slot, key in zip(slots, keys, strict=True)]


def _check_data(key: Key | None, data: str, item_id: int) -> Registered:
    if key is None or key.data == data:
        return item_id
    return IdempotencyKeyReused(
        f"this Idempotency-Key was used for item {item_id}, with other data",
        hint="use a new key for each new request",
    )
