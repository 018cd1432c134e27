"""The claim lock: one row that claimers lock in turn, and the database's clock."""

from datetime import datetime

from sqlalchemy import (
    Connection,
    select,
    update,
)

from batchline.db.dialects.types import utc_now
from batchline.db.models import gate


def acquire_claim_lock(connection: Connection) -> datetime:
    """Wait for the lock, and hold it until this transaction ends.

    Return the time of the database's clock, so that jobs on several machines agree on it.
    """
    now: datetime = connection.execute(select(utc_now(), gate.c.id).with_for_update()).scalar_one()
    return now


def check_writable(connection: Connection) -> None:
    """Write without changing anything. This raises an error if the database is read-only."""
    connection.execute(update(gate).values(id=gate.c.id))


def database_time(connection: Connection) -> datetime:
    """Return the time of the database's clock."""
    return connection.execute(select(utc_now())).scalar_one()
