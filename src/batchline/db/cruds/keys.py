"""Statements about API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from batchline.api_keys import Role
from batchline.db.dialects.inserts import insert_one
from batchline.db.dialects.types import utc_now
from batchline.db.models import api_keys


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key as it is stored. `rate` is in requests per second; None: no limit."""

    id: int
    name: str
    role: Role
    sha256: str
    rate: float | None
    items_per_day: int | None
    created_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def create(
    connection: Connection,
    name: str,
    role: Role,
    sha256: str,
    *,
    rate: float | None = None,
    items_per_day: int | None = None,
) -> int:
    """Store a key and return its id.

    Raises:
        Conflict: a key has this name or this hash.
    """
    limits = {"rate": rate, "items_per_day": items_per_day}
    return insert_one(connection, api_keys, name=name, role=role, sha256=sha256, **limits)


def revoke(connection: Connection, name: str) -> bool:
    """Revoke a key. Return False if no key has this name or it has been revoked already."""
    of = api_keys.c
    values = {"revoked_at": utc_now()}
    query = update(api_keys).where(of.name == name, of.revoked_at.is_(None)).values(values)
    return connection.execute(query).rowcount == 1


def exist(connection: Connection) -> bool:
    """Return whether any key was ever created, revoked ones included."""
    return connection.execute(select(api_keys.c.id).limit(1)).first() is not None


def read(connection: Connection) -> Sequence[ApiKey]:
    """Return all keys, the oldest first, except rows with an unknown role, which a client wrote."""
    of = api_keys.c
    columns = (
        *(of.id, of.name, of.role, of.sha256, of.rate, of.items_per_day),
        *(of.created_at, of.last_used_at, of.revoked_at),
    )
    rows = connection.execute(select(*columns).order_by(of.id))
    return [
        ApiKey(row.id, row.name, Role(row.role), *row[3:]) for row in rows if row.role in {*Role}
    ]
