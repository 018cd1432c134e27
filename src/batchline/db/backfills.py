"""Statements about backfills: which items a version predicts too, and how far it is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, update

from batchline.constants import LARGEST_ID
from batchline.db.cruds import audit, versions
from batchline.db.cruds.claim_lock import acquire_claim_lock
from batchline.db.dialects.inserts import insert_one
from batchline.db.dialects.types import utc_now
from batchline.db.models import Record, backfills, claims, items
from batchline.db.scope import Backfill, IdRange
from batchline.errors import UnknownVersion


@dataclass(frozen=True, slots=True)
class NewBackfill:
    """A backfill to start: the items of a model with this status, created within these times."""

    model: str
    model_id: int
    status: str
    since: datetime | None = None
    until: datetime | None = None


def start(connection: Connection, new: NewBackfill, actor: str) -> int | None:
    """Begin a backfill of all items that exist now. Return its id, or None without any items.

    Raises:
        UnknownVersion: the version's file was removed.
    """
    acquire_claim_lock(connection)  # so that the version is not removed meanwhile
    if versions.is_removed(connection, new.model_id):
        raise UnknownVersion(
            f"the file of this version of the model {new.model} was removed",
            hint="list the versions: batchline models list",
        )
    first, last = connection.execute(select(func.min(items.c.id), func.max(items.c.id))).one()
    if first is None:
        return None
    ids = {"first_id": first, "last_id": last, "next_id": first}
    number = versions.get_version(connection, new.model_id).version
    detail = {"version": number, "status": new.status, "since": new.since, "until": new.until}
    audit.record(connection, actor, "backfills.start", new.model, detail)
    return insert_one(connection, backfills, **asdict(new), **ids)


def count_open(connection: Connection, backfill_id: int) -> int:
    """Count the items that are still to be predicted. It reads all of them, so it is for people."""
    found = get(connection, backfill_id)
    within = _scope(found).within(found.first_id, found.last_id)
    return connection.execute(select(func.count()).select_from(items).where(*within)).scalar_one()


def has_unfinished(connection: Connection, model_id: int | None = None) -> bool:
    """Whether a backfill, by this version if given, has not ended. All of it may be claimed."""
    found = _unfinished(connection)
    return any(model_id is None or each.model_id == model_id for each in found)


def get(connection: Connection, backfill_id: int) -> Record:
    """Return a backfill."""
    return connection.execute(select(backfills).where(backfills.c.id == backfill_id)).one()


def find_scope(connection: Connection, backfill_id: int) -> Backfill | None:
    """Return the items that a backfill covers, or None if there is no such backfill."""
    found = connection.execute(select(backfills).where(backfills.c.id == backfill_id)).first()
    return None if found is None else _scope(found)


def next_range(connection: Connection, width: int) -> tuple[Backfill, IdRange] | None:
    """Return the next `width` ids of the oldest open backfill, and move its cursor; or None.

    The caller holds the claim lock, and claims the ids in the same transaction.
    """
    unfinished = _unfinished(connection)
    oldest = next((each for each in unfinished if each.next_id <= each.last_id), None)
    if oldest is None:
        for each in unfinished:
            end_if_done(connection, each.id)
        return None
    first = _next_item(connection, oldest.next_id, oldest.last_id)  # ids may have large gaps
    last = min(first + width - 1, oldest.last_id)
    # No number follows the largest id, so there the cursor passes the end in another way.
    passed = {"next_id": last + 1} if last < LARGEST_ID else {"next_id": last, "last_id": last - 1}
    connection.execute(update(backfills).where(backfills.c.id == oldest.id).values(passed))
    return _scope(oldest), IdRange(first, last)


def _next_item(connection: Connection, first: int, last: int) -> int:
    """Return the lowest id of an item in this range, or else its last id."""
    query = select(func.min(items.c.id)).where(items.c.id.between(first, last))
    found = connection.execute(query).scalar()
    return last if found is None else int(found)


def end_if_done(connection: Connection, backfill_id: int) -> bool:
    """Whether all of it has been predicted. If so, note when it ended."""
    found = get(connection, backfill_id)
    if found.ended_at is not None:
        return True
    if found.next_id <= found.last_id or _is_claimed(connection, backfill_id):
        return False
    this = backfills.c.id == backfill_id
    connection.execute(update(backfills).where(this).values(ended_at=utc_now()))
    return True


def _unfinished(connection: Connection) -> Sequence[Record]:
    query = select(backfills).where(backfills.c.ended_at.is_(None))
    return connection.execute(query.order_by(backfills.c.id)).all()


def _is_claimed(connection: Connection, backfill_id: int) -> bool:
    query = select(claims.c.id).where(claims.c.backfill_id == backfill_id)
    return connection.execute(query.limit(1)).first() is not None


def _scope(record: Record) -> Backfill:
    return Backfill(
        id=record.id,
        model=record.model,
        model_id=record.model_id,
        status=record.status,
        since=record.since,
        until=record.until,
    )
