"""Statements that find and read the items that are still to be predicted."""

from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    case,
    func,
    select,
)

from batchline.constants import (
    BEFORE_ALL_IDS,
    MAX_BODY_BYTES,
    Status,
)
from batchline.db.cruds.items import text_of
from batchline.db.dialects.types import byte_length, raw_text
from batchline.db.models import items
from batchline.db.scope import PENDING, Scope


def _pending(*columns: Any) -> Select[Any]:
    return select(*columns).where(items.c.status == Status.PENDING).order_by(items.c.id)


def _open(scope: Scope, first_id: int, last_id: int, *columns: Any) -> Select[Any]:
    return select(*columns).where(*scope.within(first_id, last_id)).order_by(items.c.id)


def first(connection: Connection, after: int = BEFORE_ALL_IDS) -> int | None:
    """The lowest pending id above `after`, or None. One probe of the index."""
    query = _pending(items.c.id).where(items.c.id > after).limit(1)
    return connection.execute(query).scalar()


def ids_of_unpredicted(
    connection: Connection, first_id: int, last_id: int, scope: Scope = PENDING
) -> list[int]:
    """The ids of the items of a range that are still to be predicted."""
    return list(connection.execute(_open(scope, first_id, last_id, items.c.id)).scalars())


def last(connection: Connection) -> int | None:
    """The highest pending id, or None. One probe of the index."""
    highest = select(items.c.id).where(items.c.status == Status.PENDING).order_by(items.c.id.desc())
    return connection.execute(highest.limit(1)).scalar()


def nth(connection: Connection, first_id: int, n: int) -> int | None:
    """The id of the n-th pending item from `first_id` on, or None; reads n entries of the index."""
    query = _pending(items.c.id).where(items.c.id >= first_id).limit(1).offset(n - 1)
    return connection.execute(query).scalar()


def summarize_range(
    connection: Connection, first_id: int, last_id: int, scope: Scope = PENDING
) -> tuple[int, str | None, bool]:
    """A range's open items: the size of their data, one of their models, whether it is all's."""
    ends = raw_text(func.min(items.c.model)), raw_text(func.max(items.c.model))
    query = select(func.sum(byte_length(items.c.data)), *ends)
    found = connection.execute(query.where(*scope.within(first_id, last_id))).one()
    size, model, last_model = found
    return int(size or 0), text_of(model), model == last_model


def last_within(
    connection: Connection, first_id: int, last_id: int, max_bytes: int, scope: Scope = PENDING
) -> int:
    """The id up to which a range's open items, one at least, have `max_bytes` of data."""
    sizes = _open(scope, first_id, last_id, items.c.id, byte_length(items.c.data))
    last, total = first_id, 0
    for place, (item_id, size) in enumerate(connection.execute(sizes)):
        total += size
        if total > max_bytes and place > 0:
            break
        last = item_id
    return last


def count(connection: Connection) -> int:
    """How many items are pending; reads that part of the index, so for people, not for loops."""
    query = select(func.count()).select_from(items).where(items.c.status == Status.PENDING)
    return connection.execute(query).scalar_one()


def read_unpredicted(
    connection: Connection,
    first_id: int,
    last_id: int,
    scope: Scope = PENDING,
    model: str | None = None,
) -> dict[str, list[tuple[int, str | bytes | None]]]:
    """The open items of a range, by model: id and JSON text, or None where that is too large.

    Args:
        model: the one of all of them, if that is known; then it is not read with each.
    """
    fits = case((byte_length(items.c.data) <= MAX_BODY_BYTES, raw_text(items.c.data)))
    if model is not None:
        query = _open(scope, first_id, last_id, items.c.id, fits)
        of_model: list[Any] = list(connection.execute(query))
        return {model: of_model} if of_model else {}
    query = _open(scope, first_id, last_id, items.c.id, fits, raw_text(items.c.model))
    found: dict[str, list[tuple[int, str | bytes | None]]] = {}
    for item_id, text, name in connection.execute(query):
        found.setdefault(text_of(name) or "", []).append((item_id, text))
    return found


def lock_unpredicted(
    connection: Connection, first_id: int, last_id: int, scope: Scope = PENDING
) -> set[int]:
    """The ids of a range's open items, which stay so until this transaction ends."""
    query = select(items.c.id).where(*scope.within(first_id, last_id)).with_for_update()
    return set(connection.execute(query).scalars())
