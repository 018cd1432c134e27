"""Statements about who changed models, keys or many items at once.

An entry is written in the transaction of the change, so that there is either both or neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from batchline.db.models import audit_entries

MAX_TEXT = 255


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
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Record a change in the transaction that makes it."""
    values = {
        "actor": actor[:MAX_TEXT],
        "action": action,
        "subject": None if subject is None else subject[:MAX_TEXT],
        "detail": None if detail is None else orjson.dumps(detail).decode(),
    }
    connection.execute(insert(audit_entries).values(values))


def newest(connection: Connection, limit: int) -> Sequence[Entry]:
    """Return the newest entries, the newest first."""
    of = audit_entries.c
    columns = of.id, of.created_at, of.actor, of.action, of.subject, of.detail
    query = select(*columns).order_by(of.id.desc()).limit(limit)
    return [Entry(*row) for row in connection.execute(query)]
