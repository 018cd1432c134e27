"""Statements about the processes of batch jobs, each of which reports that it is alive."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update

from batchline.constants import HEARTBEAT_LIFETIME
from batchline.db.cruds.claim_lock import database_time
from batchline.db.dialects.types import utc_now
from batchline.db.models import job_processes

LIFETIME = timedelta(seconds=HEARTBEAT_LIFETIME)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A report: the activity of a process, the speed of its last run, the time of its next one.

    `error` is the code of the error with which the last run ended, or None.
    """

    activity: str
    rows_per_second: float | None = None
    next_run_at: datetime | None = None
    failed_at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class JobProcess:
    """A process of a batch job. Times are None if they cannot be read."""

    owner: str
    host: str
    pid: int
    version: str
    started_at: datetime | None
    seen_at: datetime | None
    heartbeat: Heartbeat


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: its name in `claims` and `runs`, where it runs, and its version of Batchline."""

    owner: str
    host: str
    pid: int
    version: str


def beat(connection: Connection, identity: Identity, heartbeat: Heartbeat) -> None:
    """Record that a process is alive, and remove those that are dead."""
    of = job_processes.c
    values = {
        "seen_at": utc_now(),
        "activity": heartbeat.activity,
        "rows_per_second": heartbeat.rows_per_second,
        "next_run_at": heartbeat.next_run_at,
        "failed_at": heartbeat.failed_at,
        "error": heartbeat.error,
    }
    mine = update(job_processes).where(of.owner == identity.owner).values(values)
    if connection.execute(mine).rowcount:
        return
    about = {"host": identity.host, "pid": identity.pid, "version": identity.version}
    connection.execute(insert(job_processes).values(owner=identity.owner, **about, **values))
    dead = _not_seen_within(10 * LIFETIME, database_time(connection))
    connection.execute(delete(job_processes).where(dead))


def end(connection: Connection, owner: str) -> None:
    """Remove a process that ends."""
    connection.execute(delete(job_processes).where(job_processes.c.owner == owner))


def alive(connection: Connection, now: datetime) -> Sequence[JobProcess]:
    """Return the processes that were seen within `HEARTBEAT_LIFETIME`, the oldest first."""
    return _read(connection, ~_not_seen_within(LIFETIME, now), job_processes.c.id)


def silent(connection: Connection, now: datetime) -> Sequence[JobProcess]:
    """Return the processes that were killed or hang, the newest first: they reported no end."""
    return _read(connection, _not_seen_within(LIFETIME, now), job_processes.c.id.desc())


def _not_seen_within(span: timedelta, now: datetime) -> ColumnElement[bool]:
    """A report from the future is old, too: somebody has set the database's clock back."""
    seen_at = job_processes.c.seen_at
    return or_(seen_at < now - span, seen_at > now + span)


def _read(
    connection: Connection, which: ColumnElement[bool], order: ColumnElement[int]
) -> Sequence[JobProcess]:
    of = job_processes.c
    query = select(
        *(of.owner, of.host, of.pid, of.version, of.started_at, of.seen_at),
        *(of.activity, of.rows_per_second, of.next_run_at, of.failed_at, of.error),
    )
    rows = connection.execute(query.where(which).order_by(order))
    return [JobProcess(*row[:6], Heartbeat(*row[6:])) for row in rows]
