"""Make failed items pending again, in transactions of bounded size, under one audit entry."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from batchline.constants import BEFORE_ALL_IDS, RETRY_ITEMS
from batchline.db.cruds import audit, results
from batchline.db.database import Database

_Retried = tuple[Sequence[int], int | None]
"""The ids of the items that one transaction made pending, and the entry of the audit log."""


def retry(
    database: Database,
    parts: Iterable[Sequence[int]],
    code: str | None,
    actor: str,
    asked: Mapping[str, Any],
) -> int:
    """Make failed items pending, with these ids and this code if given. Return how many there were.

    Each transaction updates the entry of the audit log, which always says how many were changed.

    Args:
        parts: the ids, or one empty part for any id.
        asked: what the user asked for, for the entry.
    """
    total: int = 0
    entry: int | None = None

    def work(connection: Connection, ids: Sequence[int], after: int) -> _Retried:
        found = results.retry_failed(
            connection, item_ids=ids, code=code, limit=RETRY_ITEMS, after=after
        )
        if not found:
            return found, entry
        detail = {**asked, "items": total + len(found)}
        if entry is None:
            return found, audit.record(connection, actor, "items.retry", None, detail)
        audit.amend(connection, entry, detail)
        return found, entry

    for ids in parts:
        # A job may fail an item again before the next transaction, which must not find it again.
        after, has_more = BEFORE_ALL_IDS, True
        while has_more:
            found, entry = database.transaction(partial(work, ids=ids, after=after))
            total += len(found)
            has_more = len(found) == RETRY_ITEMS
            after = found[-1] if found else after
    return total
