"""Statements about who changed models, keys or many items at once.

An entry is written in the transaction of the change, so that there is either both or neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from batchline.db.dialects.inserts import insert_one
from batchline.db.models import audit_entries

MAX_TEXT = 255

Detail = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `detail` is JSON text."""

    id: int
    created_at: datetime | None
    actor: str
    action: str
    subject: str | None
    detail: str | None


def record(
    connection: Connection,
    actor: str,
    action: str,
    subject: str | None = None,
    detail: Detail | None = None,
) -> int:
    """Record a change in the transaction that makes it. Return the id of the entry.

    Args:
        actor: who makes it: `cli:USER@HOST`, or `key:NAME` for an API key.
        subject: the name of the model or key that changes.
        detail: more about it. What is None or empty is left out.
    """
    values = {
        "actor": actor[:MAX_TEXT],
        "action": action,
        "subject": None if subject is None else subject[:MAX_TEXT],
        "detail": None if detail is None else _text(detail),
    }
    return insert_one(connection, audit_entries, **values)


def amend(connection: Connection, entry_id: int, detail: Detail) -> None:
    """Replace the detail of an entry, in a later transaction of the same change."""
    this = audit_entries.c.id == entry_id
    connection.execute(update(audit_entries).where(this).values(detail=_text(detail)))


def newest(connection: Connection, limit: int) -> Sequence[Entry]:
    """Return the newest entries, the newest first."""
    of = audit_entries.c
    columns = of.id, of.created_at, of.actor, of.action, of.subject, of.detail
    query = select(*columns).order_by(of.id.desc()).limit(limit)
    return [Entry(*row) for row in connection.execute(query)]


def _text(detail: Detail) -> str:
    given = {name: value for name, value in detail.items() if value not in (None, [], "")}
    return orjson.dumps(given).decode()
