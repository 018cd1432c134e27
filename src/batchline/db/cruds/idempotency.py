"""Statements that store idempotency keys with the items they registered."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    select,
)

from batchline.db.dialects.inserts import insert_many
from batchline.db.models import (
    idempotency_keys,
)


@dataclass(frozen=True, slots=True)
class Key:
    """An Idempotency-Key and what it came with, both as SHA-256: any key fits, in any collation."""

    key: str
    data: str


def find_items(connection: Connection, keys: Sequence[str]) -> dict[str, tuple[str, int]]:
    """For those of these keys that are known: what they came with, and the item's id."""
    table = idempotency_keys.c
    query = select(table.key_sha256, table.data_sha256, table.item_id)
    rows = connection.execute(query.where(table.key_sha256.in_(keys)))
    return {key: (data, item_id) for key, data, item_id in rows}


def store(connection: Connection, keys: Sequence[tuple[Key, int]]) -> None:
    """Remember to which item each key belongs.

    Raises:
        IntegrityError: another transaction was faster with one of them.
    """
    rows = [(item_id, key.data, key.key) for key, item_id in keys]
    columns = ("item_id", "data_sha256", "key_sha256")
    insert_many(connection, "idempotency_keys", columns, rows)
