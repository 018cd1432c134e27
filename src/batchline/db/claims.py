"""Claims: which job may predict which items, and until when.

A claim covers the items of one lane in a range of ids, so it costs one table row however many items
it covers. Claims of different lanes may cover the same ids. A claim lasts for a lease, which its
job renews while it works. Claimers hold the claim lock in turn.

An expired claim has lost its job: it crashed, was killed, or its machine is gone. One of its items
may be the reason, so they become *suspects*. The claim is divided into smaller ones. A process that
holds no other claim takes them one at a time, until the item that kills is isolated and no other
item can be blamed. An item with `MAX_ISOLATED_CRASHES` crashes in isolation is marked as failed.
Other processes go on with other items meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, delete, or_, select, update

from batchline.constants import (
    CLAIM_LEASE,
    CLAIM_MAX_ITEMS,
    MAX_ISOLATED_CRASHES,
    SUSPECT_PARTS,
    Status,
)
from batchline.db import backfills, lanes
from batchline.db.cruds import claim_lock, pending, results, versions
from batchline.db.cruds.pending import ModelItems
from batchline.db.cruds.results import VersionResults
from batchline.db.dialects.inserts import insert_one
from batchline.db.lanes import LaneProgress
from batchline.db.models import Record, claims
from batchline.db.scope import PENDING, Backfill, IdRange, Scope
from batchline.errors import ClaimLost, Failure

WORKER_CRASHED = "worker_crashed"
MOST_AHEAD = timedelta(seconds=2 * CLAIM_LEASE)
"""Claims that last longer from now on are as old as those that expired: the clock was set back."""
LONG_AGO, RECENTLY = timedelta(days=1), timedelta(seconds=1)
"""When a claim without an owner expired. Recently: its item was put off, and comes after others."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of `owner` to predict the items of a scope from `first_id` to `last_id`.

    Args:
        is_patient: whether it has an item that was put off, and now gets all the time.
    """

    id: int
    owner: str
    first_id: int
    last_id: int
    suspect: bool = False
    scope: Scope = PENDING
    is_patient: bool = False

    @property
    def ids(self) -> IdRange:
        """The ids from `first_id` to `last_id`."""
        return IdRange(self.first_id, self.last_id)


@dataclass(frozen=True, slots=True)
class Suspects:
    """A claim of suspect items, if there are any, and which others were marked as crashed."""

    claim: Claim | None
    crashed: tuple[int, ...] = ()


# Taking ----------------------------------------------------------------------------------------


def claim_pending(
    connection: Connection,
    *,
    owner: str,
    max_items: Callable[[int], int],
    known: Mapping[int, LaneProgress],
    lease: float,
) -> Claim | None:
    """Claim the next pending items of the lane whose turn it is, or None.

    Args:
        max_items: the size of a claim, by lane.
        known: how far the run is with lanes. Others are found all the same.
    """
    now = claim_lock.acquire_claim_lock(connection)
    of_pending = claims.c.backfill_id.is_(None)
    query = select(claims).where(of_pending).order_by(claims.c.first_id)
    taken = connection.execute(query).all()
    found = lanes.next_range(connection, max_items, known, taken)
    if found is None:
        return None
    return _take(connection, owner, *found, now + timedelta(seconds=lease))


def claim_one(connection: Connection, item_id: int, *, owner: str, lease: float) -> Claim:
    """Claim one item, whatever other jobs have claimed."""
    expires_at = claim_lock.acquire_claim_lock(connection) + timedelta(seconds=lease)
    return _take(connection, owner, PENDING, IdRange(item_id, item_id), expires_at)


def claim_backfill(
    connection: Connection, *, owner: str, max_items: int, lease: float
) -> Claim | None:
    """Claim the next ids of the oldest backfill, or None."""
    now = claim_lock.acquire_claim_lock(connection)
    found = backfills.next_range(connection, max_items)
    if found is None:
        return None
    return _take(connection, owner, *found, now + timedelta(seconds=lease))


def claim_suspect(connection: Connection, *, owner: str, lease: float) -> Suspects:
    """Take an expired claim or a part of it. Mark items as failed that have crashed too often."""
    now = claim_lock.acquire_claim_lock(connection)
    crashed: list[int] = []
    for ended in _expired_claims(connection, now):
        connection.execute(delete(claims).where(claims.c.id == ended.id))
        scope = _scope(connection, ended)
        if scope is None:
            continue  # somebody has deleted its backfill
        parts = _parts(connection, ended, scope)
        if not parts:
            continue  # its items have been predicted
        first, *rest = parts
        deaths = int(ended.deaths_alone)
        if first.first == parts[-1].last and deaths >= MAX_ISOLATED_CRASHES:
            detail = f"{deaths} times a job died while it predicted only this item"
            if fail(connection, first.first, Failure(WORKER_CRASHED, detail), scope):
                crashed.append(first.first)
        else:
            for part in rest:
                _insert(connection, None, part, now - LONG_AGO, scope, suspect=True)
            expires_at = now + timedelta(seconds=lease)
            claim_id = _insert(
                connection, owner, first, expires_at, scope, suspect=True, deaths=deaths
            )
            claim = Claim(claim_id, owner, *first, True, scope, bool(ended.was_put_off))
            return Suspects(claim, tuple(crashed))
    return Suspects(None, tuple(crashed))


def next_suspects(connection: Connection) -> tuple[Scope, IdRange] | None:
    """Return the suspects that `claim_suspect` takes next, if there are any."""
    now = claim_lock.database_time(connection)
    for ended in connection.execute(_expired(now)).all():
        scope = _scope(connection, ended)
        if scope is not None and (parts := _parts(connection, ended, scope)):
            return scope, parts[0]
    return None


def _parts(connection: Connection, ended: Record, scope: Scope) -> list[IdRange]:
    """Return the parts in which the items of a claim that has ended are claimed again."""
    of_claim = IdRange(ended.first_id, ended.last_id)
    ids = pending.unpredicted_ids(connection, of_claim, scope, limit=CLAIM_MAX_ITEMS)
    parts = split(ids, 1 if ended.owner is None else SUSPECT_PARTS) if ids else []
    if len(ids) == CLAIM_MAX_ITEMS and ids[-1] < ended.last_id:  # clients have added items
        parts.append(IdRange(ids[-1] + 1, ended.last_id))
    return parts


def split(ids: Sequence[int], parts: int) -> list[IdRange]:
    """Divide ids into up to `parts` ranges of about the same size."""
    size = -(-len(ids) // parts)
    chunks = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [IdRange(chunk[0], chunk[-1]) for chunk in chunks]


def _deaths_alone() -> ColumnElement[int]:
    """How often a job died while it held only the item of an expired claim."""
    is_alone = claims.c.first_id == claims.c.last_id
    died = and_(claims.c.owner.is_not(None), claims.c.suspect, is_alone)
    return claims.c.deaths + case((died, 1), else_=0)


def _scope(connection: Connection, claim: Record) -> Scope | None:
    if claim.backfill_id is None:
        return Scope(lane=claim.lane)
    return backfills.find_scope(connection, claim.backfill_id)


def has_suspects(connection: Connection, *, claimed: bool = False) -> bool:
    """Return whether there are suspect items, without waiting for anybody.

    Args:
        claimed: whether those count that a process predicts now.
    """
    expired = _has_expired(claim_lock.database_time(connection))
    suspect = or_(claims.c.suspect, expired) if claimed else expired
    return connection.execute(select(claims.c.id).where(suspect).limit(1)).first() is not None


def fail(
    connection: Connection,
    item_id: int,
    failure: Failure,
    scope: Scope,
    tried: ModelItems | None = None,
) -> bool:
    """Store the failure of an item that has ended its process, if it is still unpredicted.

    Return whether it was.

    Args:
        tried: the item as it was read, if the process knows. Then one that a client has changed
            since is left as it is.
    """
    failed = {item_id: failure}
    if isinstance(scope, Backfill):
        if not results.lock(connection, scope.within(item_id, item_id)):
            return False
        if tried is not None and pending.changed(connection, tried):
            return False
        results.insert(connection, VersionResults(scope.model_id, {}, failed))
        return True
    if not results.finish(connection, [item_id], Status.FAILED):
        return False
    if tried is not None and pending.changed(connection, tried):
        results.set_pending(connection, [item_id])
        return False
    results.delete_results(connection, [item_id])
    model_id = versions.active_version_of(connection, item_id)
    results.insert(connection, VersionResults(model_id, {}, failed))
    return True


def _expired_claims(connection: Connection, now: datetime) -> Sequence[Record]:
    """Return expired claims and lock them, except those that a job is storing right now."""
    return connection.execute(_expired(now).with_for_update(skip_locked=True)).all()


def _expired(now: datetime) -> Select[Any]:
    """Return expired claims in the order in which they are predicted.

    Items that were put off come last. Before them comes an item at which a job died alone, so that
    the next job does not begin with it: a job that is killed soon after its start, again and again,
    would count as deaths of the same item.
    """
    put_off = and_(claims.c.owner.is_(None), claims.c.expires_at > now - LONG_AGO / 2)
    was_put_off = case((put_off, 1), else_=0).label("was_put_off")
    deaths = _deaths_alone().label("deaths_alone")
    found = select(claims, was_put_off, deaths).where(_has_expired(now))
    return found.order_by(was_put_off, deaths, claims.c.first_id)


def _has_expired(now: datetime) -> ColumnElement[bool]:
    return or_(claims.c.expires_at < now, claims.c.expires_at > now + MOST_AHEAD)


def _long_ago(connection: Connection) -> datetime:
    return claim_lock.database_time(connection) - LONG_AGO


def _take(
    connection: Connection, owner: str, scope: Scope, ids: IdRange, expires_at: datetime
) -> Claim:
    claim_id = _insert(connection, owner, ids, expires_at, scope)
    return Claim(claim_id, owner, *ids, scope=scope)


def _insert(
    connection: Connection,
    owner: str | None,
    ids: IdRange,
    expires_at: datetime,
    scope: Scope,
    *,
    suspect: bool = False,
    deaths: int = 0,
) -> int:
    return insert_one(
        connection,
        claims,
        owner=owner,
        first_id=ids.first,
        last_id=ids.last,
        expires_at=expires_at,
        suspect=suspect,
        deaths=deaths,
        backfill_id=scope.id if isinstance(scope, Backfill) else None,
        lane=scope.lane,
    )


# Holding and ending ----------------------------------------------------------------------------


def renew(connection: Connection, claim_ids: Sequence[int], lease: float) -> None:
    """Let these claims last for `lease` seconds from now, as far as they are still held.

    A claim that was released at the same moment stays released. A claim that is being stored is
    skipped, because the others must not wait for its lock.
    """
    expires_at = claim_lock.database_time(connection) + timedelta(seconds=lease)
    these = select(claims.c.id).where(claims.c.id.in_(claim_ids), claims.c.owner.is_not(None))
    free = connection.execute(these.with_for_update(skip_locked=True)).scalars().all()
    connection.execute(update(claims).where(claims.c.id.in_(free)).values(expires_at=expires_at))


def shorten(connection: Connection, claim: Claim, last_id: int) -> Claim:
    """Keep the claim up to `last_id`. The rest can be claimed again."""
    connection.execute(update(claims).where(claims.c.id == claim.id).values(last_id=last_id))
    if last_id < claim.last_id and (claim.suspect or isinstance(claim.scope, Backfill)):
        rest = IdRange(last_id + 1, claim.last_id)
        leave_unowned(connection, rest, claim.scope)
    return replace(claim, last_id=last_id)


def leave_unowned(connection: Connection, ids: IdRange, scope: Scope) -> None:
    """Leave these ids as a claim without an owner, since no cursor passes them again."""
    _insert(connection, None, ids, _long_ago(connection), scope, suspect=True)


def put_off(connection: Connection, item_id: int, scope: Scope) -> None:
    """Leave a suspect that takes its time until the others have been predicted."""
    recently = claim_lock.database_time(connection) - RECENTLY
    _insert(connection, None, IdRange(item_id, item_id), recently, scope, suspect=True)


def put_off_of(connection: Connection, claim: Claim, item_id: int) -> None:
    """Put an item of a claim off, and leave its other items to be claimed before it.

    Raises:
        ClaimLost: as `hold`.
    """
    hold(connection, claim)
    complete(connection, claim)
    for ids in (IdRange(claim.first_id, item_id - 1), IdRange(item_id + 1, claim.last_id)):
        if ids.first <= ids.last:
            leave_unowned(connection, ids, claim.scope)
    put_off(connection, item_id, claim.scope)


def hold(connection: Connection, claim: Claim) -> None:
    """Lock the claim, so that nobody can take it before this transaction ends.

    Raises:
        ClaimLost: it expired, and another job took it.
    """
    query = select(claims.c.id).where(claims.c.id == claim.id, claims.c.owner == claim.owner)
    if connection.execute(query.with_for_update()).first() is None:
        raise ClaimLost(
            f"the claim on the items {claim.first_id} to {claim.last_id} expired",
            hint="another job predicts them; the results of this one were not stored",
        )


def expire(connection: Connection, owner: str, *, is_prefix: bool = False) -> None:
    """Let the claims of an owner expire now, or those of all owners with this prefix.

    The caller knows that the process of the owner has ended, or ends it.
    """
    mine = select(claims.c.id).where(_of(owner, is_prefix))
    found = connection.execute(mine).scalars().all()
    expired = update(claims).values(expires_at=_long_ago(connection))
    connection.execute(expired.where(claims.c.id.in_(found)))


def _of(owner: str, is_prefix: bool) -> ColumnElement[bool]:
    if is_prefix:
        return claims.c.owner.startswith(owner, autoescape=True)
    return claims.c.owner == owner


def complete(connection: Connection, claim: Claim) -> None:
    """Delete a claim that has done its work."""
    connection.execute(delete(claims).where(claims.c.id == claim.id))


def release(connection: Connection, owner: str, *, is_prefix: bool = False) -> None:
    """Release the claims of this owner, or of all owners with this prefix.

    A suspect stays one, with its deaths.
    """
    # Select first: a DELETE by owner would wait for the rows of other jobs that it reads.
    mine = select(claims.c.id, claims.c.suspect, claims.c.backfill_id)
    for claim_id, suspect, backfill_id in connection.execute(mine.where(_of(owner, is_prefix))):
        this = claims.c.id == claim_id
        if suspect or backfill_id is not None:  # no cursor passes its ids again
            unowned = update(claims).values(owner=None, expires_at=_long_ago(connection))
            connection.execute(unowned.where(this))
        else:
            connection.execute(delete(claims).where(this))
