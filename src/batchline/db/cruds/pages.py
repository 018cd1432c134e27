"""Statements that find the ids of a page of items, each by an index.

An index has the ids of one value in order. So the ids of several values, such as the lanes of a
status, are read value by value and merged.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    bindparam,
    select,
    union_all,
)

from batchline.constants import Status
from batchline.db.dialects.types import same_text
from batchline.db.models import failures, items
from batchline.errors import UnknownCursor

VALUES_AT_ONCE = 100
"""Values that one statement reads. SQLite's limit is 500 parts of a UNION."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which items a page has, and in which order. Only one kind of filter can be used at a time.

    Items are ordered by id, or by `created_at` and id if they are filtered by it.
    """

    status: Status | None = None
    model: str | None = None
    custom_ids: Sequence[str] = ()
    code: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    descending: bool = False

    @property
    def by_time(self) -> bool:
        return self.created_after is not None or self.created_before is not None


NO_FILTERS = Filters()


def find(connection: Connection, filters: Filters, *, after: int | None, limit: int) -> list[int]:
    """Return up to `limit` ids that follow the id `after`, or the first ones.

    Raises:
        UnknownCursor: items are ordered by time, and the item `after` does not exist.
    """
    if filters.by_time:
        return _by_time(connection, filters, after, limit)
    kind, values = _values(connection, filters)
    found: list[int] = []
    for start in range(0, len(values), VALUES_AT_ONCE):
        some = values[start : start + VALUES_AT_ONCE]
        bound: dict[str, Any] = {f"value{number}": value for number, value in enumerate(some)}
        bound |= {"status": filters.status} if kind == "status" else {}
        query = _merged(kind, len(some), descending=filters.descending, first=after is None)
        found += connection.execute(query, bound | {"after": after, "limit": limit}).scalars()
    return sorted(found, reverse=filters.descending)[:limit]


def lanes_of(connection: Connection, status: Status) -> Sequence[int]:
    """Return the lanes that have items with this status. It reads one index entry of each.

    Each is a statement of its own: in one recursive statement, MySQL and MariaDB read all entries.
    """
    found: list[int] = []
    of_status = select(items.c.lane).where(items.c.status == status)
    query = of_status.order_by(items.c.lane).limit(1)
    while (lane := connection.execute(query).scalar()) is not None:
        found.append(lane)
        query = of_status.where(items.c.lane > lane).order_by(items.c.lane).limit(1)
    return found


def _values(connection: Connection, filters: Filters) -> tuple[str, Sequence[Any]]:
    if filters.status is not None:
        return "status", lanes_of(connection, filters.status)
    if filters.model is not None:
        return "model", [filters.model]
    if filters.custom_ids:
        return "custom_id", list(dict.fromkeys(filters.custom_ids))
    if filters.code is not None:
        return "code", [filters.code]
    return "all", [None]


def _all(value: Any) -> Iterator[ColumnElement[bool]]:
    yield from ()


def _of_status(value: Any) -> Iterator[ColumnElement[bool]]:
    yield items.c.status == bindparam("status")
    yield items.c.lane == value


def _of_model(value: Any) -> Iterator[ColumnElement[bool]]:
    yield same_text(items.c.model, value)


def _of_custom_id(value: Any) -> Iterator[ColumnElement[bool]]:
    yield same_text(items.c.custom_id, value)


def _of_code(value: Any) -> Iterator[ColumnElement[bool]]:
    yield same_text(failures.c.code, value)


CONDITIONS: dict[str, Callable[[Any], Iterator[ColumnElement[bool]]]] = {
    "all": _all,
    "status": _of_status,
    "model": _of_model,
    "custom_id": _of_custom_id,
    "code": _of_code,
}


@cache  # building a statement takes longer than running it
def _merged(kind: str, count: int, *, descending: bool, first: bool) -> Any:
    """The first ids of each of `count` values, on the first page or after an id."""
    item_id = failures.c.item_id if kind == "code" else items.c.id
    follows = item_id < bindparam("after") if descending else item_id > bindparam("after")
    cursor = [] if first else [follows]
    parts = []
    for number in range(count):
        conditions = CONDITIONS[kind](bindparam(f"value{number}"))
        part = select(item_id.label("id")).distinct() if kind == "code" else select(item_id)
        part = part.where(*conditions, *cursor)
        part = part.order_by(item_id.desc() if descending else item_id)
        parts.append(part.limit(bindparam("limit", type_=Integer)))
    return parts[0] if count == 1 else union_all(*(select(part.subquery()) for part in parts))


def _item_exists(connection: Connection, item_id: int) -> bool:
    return connection.execute(select(items.c.id).where(items.c.id == item_id)).first() is not None


def _by_time(connection: Connection, filters: Filters, after: int | None, limit: int) -> list[int]:
    """First the items that were created at the same time as the last one, then the later ones."""
    within = []
    if filters.created_after is not None:
        within.append(items.c.created_at > filters.created_after)
    if filters.created_before is not None:
        within.append(items.c.created_at < filters.created_before)
    order = [items.c.created_at, items.c.id]
    query = select(items.c.id).order_by(
        *([each.desc() for each in order] if filters.descending else order)
    )
    if after is None:
        return list(connection.execute(query.where(*within).limit(limit)).scalars())
    if not _item_exists(connection, after):
        raise UnknownCursor(
            f"no item has the id {after} of `after`, so its time is unknown",
            hint="leave `after` out, and start with the first page again",
        )
    then = select(items.c.created_at).where(items.c.id == after).scalar_subquery()
    follows = items.c.id < after if filters.descending else items.c.id > after
    ties = query.where(items.c.created_at == then, follows, *within).limit(limit)
    found = list(connection.execute(ties).scalars())
    beyond = items.c.created_at < then if filters.descending else items.c.created_at > then
    others = query.where(beyond, *within).limit(limit - len(found))
    return found + list(connection.execute(others).scalars())
