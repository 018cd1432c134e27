"""Statements that find the ids of a page of items, each by an index."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Integer,
    Select,
    bindparam,
    func,
    select,
    union_all,
)

from batchline.constants import Status
from batchline.db.models import items

LANES_AT_ONCE = 100
"""Lanes that one statement reads. SQLite's limit is 500 parts of a UNION."""


def ids_by_status(connection: Connection, status: Status, *, after: int, limit: int) -> list[int]:
    """Return up to `limit` ids above `after`, in order, of the items with this status.

    The index has the lane before the id, so each lane is read by itself.
    """
    lanes = lanes_of(connection, status)
    found: list[int] = []
    for start in range(0, len(lanes), LANES_AT_ONCE):
        some = lanes[start : start + LANES_AT_ONCE]
        values: dict[str, Any] = {f"lane{number}": lane for number, lane in enumerate(some)}
        values |= {"status": status, "after": after, "limit": limit}
        found += connection.execute(_by_lanes(len(some)), values).scalars()
    return sorted(found)[:limit]


def lanes_of(connection: Connection, status: Status) -> Sequence[int]:
    """Return the lanes that have items with this status. It reads one index entry of each."""
    return connection.execute(_lanes(), {"status": status}).scalars().all()


@cache
def _lanes() -> Select[Any]:
    of_status = items.c.status == bindparam("status")
    lanes = select(func.min(items.c.lane).label("lane")).where(of_status).cte(recursive=True)
    next_lane = select(func.min(items.c.lane)).where(of_status, items.c.lane > lanes.c.lane)
    lanes = lanes.union_all(select(next_lane.scalar_subquery()).where(lanes.c.lane.is_not(None)))
    return select(lanes.c.lane).where(lanes.c.lane.is_not(None))


@cache
def _by_lanes(count: int) -> Any:
    parts = [
        select(items.c.id)
        .where(items.c.status == bindparam("status"), items.c.lane == bindparam(f"lane{number}"))
        .where(items.c.id > bindparam("after"))
        .order_by(items.c.id)
        .limit(bindparam("limit", type_=Integer))
        .subquery()
        for number in range(count)
    ]
    return union_all(*map(select, parts))
