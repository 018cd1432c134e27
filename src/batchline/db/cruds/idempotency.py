"""Statements that store idempotency keys with the items they registered."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, select

from batchline.db.cruds import items
from batchline.db.dialects.inserts import insert_new
from batchline.db.models import idempotency_keys
from batchline.db.models import items as items_table
from batchline.db.new_items import Key, NewItems
from batchline.errors import BatchlineError, Conflict
from batchline.request_errors import IdempotencyKeyReused


class KnownId(int):
    """The id of an item that another request with the same key and data has registered."""


Registered = int | BatchlineError
"""The id of a registered item, or why it was rejected."""


Requests = dict[str, tuple[str, int]]
"""The hash of the data and the item id of each key."""


def find_items(connection: Connection, keys: Sequence[str]) -> Requests:
    """Return the requests and the item ids of the keys that are known."""
    table = idempotency_keys.c
    query = select(table.key_sha256, table.data_sha256, table.item_id)
    rows = connection.execute(query.where(table.key_sha256.in_(keys)))
    return {key: (data, item_id) for key, data, item_id in rows}


def register(connection: Connection, new: NewItems) -> Sequence[Registered]:
    """Store items with their keys. A key that is known gives the `KnownId` of its item.

    An item that is refused, or too large for the server, is not stored.

    Raises:
        Conflict: another transaction has deleted one of the keys; try again.
    """
    too_large = items.too_large(connection, new)
    if not any(new.keys) and not too_large and not new.refused:
        return items.register(connection, new)
    new = replace(new, refused={**new.refused, **too_large})
    keys = new.keys or [None] * len(new.data)
    asked = [key.key for key in keys if key]
    known = find_items(connection, asked) if asked else {}
    # An item is stored for each registration without a key, and for the first with each new key.
    slots = [key.key if key else str(index) for index, key in enumerate(keys)]
    first: dict[str, int] = {}
    for index, slot in enumerate(slots):
        if slot not in known and index not in new.refused:
            first.setdefault(slot, index)
    ids = items.register(connection, new.at(list(first.values())))
    stored = dict(zip(first, ids, strict=True))
    known |= {slot: (_data_of(keys[first[slot]]), item_id) for slot, item_id in stored.items()}
    mine = {slot: known[slot] for slot in stored if keys[first[slot]]}
    known |= _store(connection, mine)
    new_ids = {first[slot]: item_id for slot, item_id in stored.items()}
    return [
        _answer(key, known.get(slot), new_ids.get(index), new.refused.get(index))
        for index, (slot, key) in enumerate(zip(slots, keys, strict=True))
    ]


def find(connection: Connection, key: Key) -> int | None:
    """Return the id of the item that this key registered with the same data, or None."""
    data, item_id = find_items(connection, [key.key]).get(key.key, ("", 0))
    return item_id if data == key.data else None


def _data_of(key: Key | None) -> str:
    return key.data if key else ""


def _store(connection: Connection, keys: Requests) -> Requests:
    """Store new keys, unless another transaction was faster. Return what is stored of each.

    The items of lost keys are deleted. They were in this transaction only, so nobody has seen them.

    Raises:
        Conflict: the other transaction's key is gone.
    """
    in_order = sorted(keys)  # so that two transactions do not wait for each other
    columns: dict[str, Sequence[Any]] = {
        "item_id": [keys[key][1] for key in in_order],
        "data_sha256": [keys[key][0] for key in in_order],
        "key_sha256": in_order,
    }
    if not keys or insert_new(connection, "idempotency_keys", columns) == len(keys):
        return keys
    found = find_items(connection, in_order)
    if found.keys() != keys.keys():
        raise Conflict("an idempotency key was deleted while a request with it was stored")
    lost = [item_id for key, (_, item_id) in keys.items() if found[key][1] != item_id]
    connection.execute(delete(items_table).where(items_table.c.id.in_(lost)))
    return found


def _answer(
    key: Key | None,
    stored: tuple[str, int] | None,
    new_id: int | None,
    refused: BatchlineError | None,
) -> Registered:
    data, item_id = stored or (None, 0)
    if data is not None and (key is None or key.data == data):
        return item_id if item_id == new_id else KnownId(item_id)
    if refused is not None:
        return refused
    return IdempotencyKeyReused(
        f"this Idempotency-Key was used for item {item_id}, with other data",
        hint="use a new key for each new request",
    )
