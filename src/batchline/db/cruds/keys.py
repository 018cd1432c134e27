"""Statements about API keys."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, or_, select, update

from batchline.api_keys import Role
from batchline.db.cruds import audit
from batchline.db.dialects.inserts import insert_one
from batchline.db.dialects.types import utc_now
from batchline.db.models import Record, api_keys


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to create. `rate` is in requests per second; None: no limit."""

    name: str
    role: Role
    sha256: str
    rate: float | None = None
    items_per_day: int | None = None


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

    @property
    def is_limited(self) -> bool:
        return self.rate is not None or self.items_per_day is not None


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


def add(connection: Connection, new: NewKey, actor: str) -> ApiKey | None:
    """Store a key and record who does it. Or return the key that has its name or its hash already.

    Raises:
        Conflict: another transaction stores such a key at the same time.
    """
    of = api_keys.c
    taken = connection.execute(_query().where(or_(of.name == new.name, of.sha256 == new.sha256)))
    known = taken.first()
    if known is not None:
        return _parse(known)
    rate, items_per_day = new.rate, new.items_per_day
    create(connection, new.name, new.role, new.sha256, rate=rate, items_per_day=items_per_day)
    detail = {"role": new.role, "rate": rate, "items_per_day": items_per_day}
    audit.record(connection, actor, "keys.create", new.name, detail)
    return None


def revoke(connection: Connection, name: str, actor: str) -> bool:
    """Revoke a key and record who does it.

    Return False if no key has this name or it has been revoked already.
    """
    of = api_keys.c
    values = {"revoked_at": utc_now()}
    query = update(api_keys).where(of.name == name, of.revoked_at.is_(None)).values(values)
    if connection.execute(query).rowcount != 1:
        return False
    audit.record(connection, actor, "keys.revoke", name)
    return True


def exist(connection: Connection) -> bool:
    """Return whether any key was ever created, revoked ones included."""
    return connection.execute(select(api_keys.c.id).limit(1)).first() is not None


def read(connection: Connection) -> Sequence[ApiKey]:
    """Return all keys, the oldest first, except rows with an unknown role, which a client wrote."""
    known = api_keys.c.role.in_([*Role])
    return list(map(_parse, connection.execute(_query().where(known).order_by(api_keys.c.id))))


def read_valid(connection: Connection) -> Sequence[ApiKey]:
    """Return the keys that are not revoked. Leave out a key with a limit that an SQL client wrote
    and that is none.

    The database decides what is revoked: a time that cannot be parsed is one.
    """
    of = api_keys.c
    valid = of.role.in_([*Role]), of.revoked_at.is_(None)
    found = map(_parse, connection.execute(_query().where(*valid).order_by(of.id)))
    return [key for key in found if _has_valid_limits(key)]


def find(connection: Connection, name: str) -> ApiKey | None:
    """Return the key with this name, revoked or not."""
    row = connection.execute(_query().where(api_keys.c.name == name)).first()
    return None if row is None else _parse(row)


def _has_valid_limits(key: ApiKey) -> bool:
    rate: object = key.rate  # SQLite lets clients store any type
    items_per_day: object = key.items_per_day
    is_rate = rate is None or (isinstance(rate, int | float) and 0 <= rate < math.inf)
    return is_rate and isinstance(items_per_day, int | None)


def _query() -> Select[Any]:
    of = api_keys.c
    return select(
        *(of.id, of.name, of.role, of.sha256, of.rate, of.items_per_day),
        *(of.created_at, of.last_used_at, of.revoked_at),
    )


def _parse(row: Record) -> ApiKey:
    role = Role(row.role) if row.role in {*Role} else row.role  # an SQL client wrote it
    return ApiKey(row.id, row.name, role, *row[3:])
