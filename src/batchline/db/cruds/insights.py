"""Statements about how the service is doing. Their cost does not depend on the number of items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, type_coerce

from batchline.constants import COUNTED_FAILURES, COUNTED_ITEMS, SINGLE_LANE, Status
from batchline.db.cruds.items import text_of
from batchline.db.dialects.types import UtcDateTime, same_text, text_or_null
from batchline.db.models import backfills, failures, items, models, predictions, runs
from batchline.errors import ModelUnavailable

FAILURES_OF = timedelta(hours=24)
TIMED_ITEMS = 1_000
FEW = 20
"""Lanes or models that are looked at one by one."""
_PENDING = (items.c.status == Status.PENDING,)


@dataclass(frozen=True, slots=True)
class Pending:
    """The pending items of a model.

    `oldest` is when the oldest of them was registered or retried. `oldest_request` leaves out the
    rows of uploads. Both are None if there is none, or if no time can be read.
    """

    model: str
    items: int
    oldest: datetime | None
    oldest_request: datetime | None


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run. `ended_at` is None as long as it goes on, and if its process was killed."""

    started_at: datetime | None
    ended_at: datetime | None
    succeeded: int
    failed: int
    rows_per_second: float | None


@dataclass(frozen=True, slots=True)
class OpenBackfill:
    """A backfill in progress: its model and version, and the share of ids that were claimed."""

    id: int
    model: str
    version: int | None
    share: float


def pending(connection: Connection) -> Sequence[Pending]:
    """Count the first `COUNTED_ITEMS` + 1 pending items by model. The largest count comes first.

    The index has the lanes and ids of pending items, but not the times, which cost as much again.
    So the times of `TIMED_ITEMS` items are read, and of the lowest id of each model.
    """
    counted = _counted(connection)
    waiting = _waiting(connection, [id_ for _, id_ in counted.values()])
    found_of = {name: [each for each in waiting if each.model == name] for name in counted}
    counts = [
        Pending(
            name,
            count,
            oldest=_earliest(found_of[name]),
            oldest_request=_earliest(each for each in found_of[name] if each.is_request),
        )
        for name, (count, _) in counted.items()
    ]
    return sorted(counts, key=lambda each: -each.items)


def _counted(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return how many items of each model are pending, and the lowest id of them.

    To read the models of the items takes two to six times as long as to count the items, which are
    in an index without their models. So the models are read only if there may be several.
    """
    of = items.c
    first = _first_pending(connection)
    model = _only_model(connection, since=min(first)) if first else None
    counted = select(of.id, *([] if model else [text_or_null(of.model).label("model")]))
    counted = counted.where(*_PENDING).order_by(of.lane, of.id).limit(COUNTED_ITEMS + 1)
    found = counted.subquery()
    if model:
        count = connection.execute(select(func.count()).select_from(found)).scalar_one()
        return {model: (count, min(first))}
    query = select(found.c.model, func.count(), func.min(found.c.id)).group_by(found.c.model)
    return {text_of(name) or "": (n, id_) for name, n, id_ in connection.execute(query)}


def _first_pending(connection: Connection) -> list[int]:
    """Return the lowest pending id of each lane, or none if there are more than `FEW` lanes."""
    of = items.c
    query = select(of.lane, of.id).where(*_PENDING).order_by(of.lane, of.id).limit(1)
    found: list[int] = []
    row = connection.execute(query).first()
    while row is not None:
        if len(found) == FEW:
            return []
        found.append(row.id)
        row = connection.execute(query.where(of.lane > row.lane)).first()
    return found


def _only_model(connection: Connection, since: int) -> str | None:
    """Return the model of all items from this id on, or None if there may be several.

    It reads the highest id of up to `FEW` models in their index.
    """
    of = items.c
    names = select(text_or_null(of.model), of.id).where(of.model >= "")  # of an empty name, too
    query = names.order_by(of.model.desc(), of.id.desc()).limit(1)
    found: set[str] = set()
    row = connection.execute(query).first()
    for _ in range(FEW):
        if row is None:
            break
        name, highest = text_of(row[0]), row[1]
        if not name:
            return None
        found |= {name} if highest >= since else set()
        row = connection.execute(query.where(of.model < name)).first()
    return found.pop() if row is None and len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class _Waiting:
    model: str
    is_request: bool
    since: datetime | None


def _waiting(connection: Connection, also: Sequence[int]) -> list[_Waiting]:
    """Return the pending items that come first, and those with these ids."""
    of = items.c
    since = type_coerce(func.coalesce(of.retried_at, of.created_at), UtcDateTime)
    columns = select(text_or_null(of.model), of.lane, since).where(*_PENDING)
    first = columns.order_by(of.lane, of.id).limit(TIMED_ITEMS)
    rows = [
        *connection.execute(first),
        *connection.execute(columns.where(of.id.in_(also[:TIMED_ITEMS]))),
    ]
    return [
        _Waiting(text_of(name) or "", isinstance(lane, int) and lane <= SINGLE_LANE, time)
        for name, lane, time in rows
    ]


def _earliest(waiting: Iterable[_Waiting]) -> datetime | None:
    return min((each.since for each in waiting if each.since is not None), default=None)


def failed(connection: Connection, now: datetime) -> dict[str, int]:
    """Count up to `COUNTED_FAILURES` failures of the last 24 hours by code."""
    of = failures.c
    newest = select(of.code).where(of.created_at > now - FAILURES_OF, of.created_at <= now)
    newest = newest.order_by(of.created_at.desc())
    found = newest.limit(COUNTED_FAILURES).subquery()
    query = select(found.c.code, func.count()).group_by(found.c.code)
    rows = connection.execute(query.order_by(func.count().desc(), found.c.code))
    return {text_of(code) or "": count for code, count in rows}


def not_loaded(connection: Connection, now: datetime) -> set[str]:
    """Return the models of which a job could not load the active version in the last 24 hours.

    The failures of the `TIMED_ITEMS` newest items tell it. A model of which a later item has
    succeeded is loaded again.
    """
    of = failures.c
    newest = select(of.model_id, of.item_id, of.created_at).where(of.code == ModelUnavailable.code)
    found = newest.order_by(of.item_id.desc()).limit(TIMED_ITEMS).subquery()
    query = select(models.c.name, func.max(found.c.item_id)).join_from(
        found, models, models.c.id == found.c.model_id
    )
    recent = found.c.created_at > now - FAILURES_OF
    query = query.where(models.c.active.is_(True), recent).group_by(models.c.name)
    rows = connection.execute(query).all()
    return {name for name, item_id in rows if not has_succeeded(connection, name, item_id)}


def has_succeeded(connection: Connection, model: str, after: int) -> bool:
    """Return whether one of the next `TIMED_ITEMS` items of a model after this one succeeded."""
    of = items.c
    following = select(of.id).where(same_text(of.model, model), of.id > after)
    ids = following.order_by(of.id).limit(TIMED_ITEMS).subquery()  # only ids: an index has them
    succeeded = select(of.id).join(ids, ids.c.id == of.id).where(of.status == Status.SUCCEEDED)
    return connection.execute(succeeded.limit(1)).first() is not None


def last_stored(connection: Connection, now: datetime) -> datetime | None:
    """Return when the newest prediction or failure was stored."""
    newest = [
        select(predictions.c.created_at).order_by(predictions.c.id.desc()),
        select(failures.c.created_at)
        .where(failures.c.created_at <= now)
        .order_by(failures.c.created_at.desc()),
    ]
    found = [connection.execute(query.limit(1)).scalar() for query in newest]
    return max((time for time in found if time is not None), default=None)


def last_run(connection: Connection) -> LastRun | None:
    """Return the newest run, or None."""
    of = runs.c
    columns = of.started_at, of.ended_at, of.items_succeeded, of.items_failed, of.rows_per_second
    row = connection.execute(select(*columns).order_by(of.id.desc()).limit(1)).first()
    return None if row is None else LastRun(*row)


def open_backfills(connection: Connection) -> Sequence[OpenBackfill]:
    """Return the backfills that have not ended, the oldest first."""
    of = backfills.c
    query = select(of.id, of.model, models.c.version, of.first_id, of.last_id, of.next_id)
    query = query.outerjoin(models, models.c.id == of.model_id).where(of.ended_at.is_(None))
    return [
        OpenBackfill(id_, model, version, (next_id - first) / max(last + 1 - first, 1))
        for id_, model, version, first, last, next_id in connection.execute(query.order_by(of.id))
    ]


def active_versions(connection: Connection) -> dict[str, int]:
    """Return the active version of each model, by name."""
    query = select(models.c.name, models.c.version).where(models.c.active.is_(True))
    rows = connection.execute(query.order_by(models.c.name))
    return {name: version for name, version in rows}  # noqa: C416, a Row is no pair for mypy
