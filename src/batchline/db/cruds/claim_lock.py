"""The claim lock: one row that claimers lock in turn, and the database's clock."""

from datetime import datetime

from sqlalchemy import (
    Connection,
    insert,
    select,
    update,
)

from batchline.db.dialects.types import clock_time, utc_now
from batchline.db.models import gate
from batchline.errors import SchemaOutdated


def acquire_claim_lock(connection: Connection) -> datetime:
    """Wait for the lock, and hold it until this transaction ends.

    Return the time of the database's clock, so that jobs on several machines agree on it.

    Raises:
        SchemaOutdated: somebody has deleted the row that is locked.
    """
    locked = select(gate.c.id).order_by(gate.c.id).with_for_update().subquery()
    # A lease that begins with the transaction could be over when the lock comes.
    query = select(clock_time(), locked.c.id)
    now: datetime | None = connection.execute(query).scalar()
    if now is None:
        raise SchemaOutdated(
            "the table gate has lost its row, which jobs lock in turn",
            hint="run `batchline db upgrade`",
        )
    return now


def restore(connection: Connection) -> None:
    """Insert the row that is locked, if it was deleted."""
    if connection.execute(select(gate.c.id).limit(1)).first() is None:
        connection.execute(insert(gate).values(id=1))


def check_writable(connection: Connection) -> None:
    """Write without changing anything. This raises an error if the database is read-only."""
    connection.execute(update(gate).values(id=gate.c.id))


def database_time(connection: Connection) -> datetime:
    """Return the time of the database's clock."""
    return connection.execute(select(utc_now())).scalar_one()
