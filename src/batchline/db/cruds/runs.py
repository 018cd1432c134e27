"""Statements that record the runs of batch jobs."""

from sqlalchemy import (
    Connection,
    update,
)

from batchline.db.dialects.inserts import insert_one
from batchline.db.dialects.types import utc_now
from batchline.db.models import runs


def start(connection: Connection, owner: str) -> int:
    """Record that a run began; its id."""
    return insert_one(connection, runs, owner=owner)


def finish(
    connection: Connection, run_id: int, *, succeeded: int, failed: int, rows_per_second: float
) -> None:
    """Record how the run ended."""
    values = {"items_succeeded": succeeded, "items_failed": failed}
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(ended_at=utc_now(), rows_per_second=rows_per_second, **values)
    )
