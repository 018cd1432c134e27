"""Statements that record the runs of batch jobs."""

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from batchline.db.dialects.inserts import insert_one
from batchline.db.dialects.types import utc_now
from batchline.db.models import runs


def start(
    connection: Connection, owner: str, runtime: str | None = None, processor: str | None = None
) -> int:
    """Record that a run began. Return its id."""
    return insert_one(connection, runs, owner=owner, runtime=runtime, processor=processor)


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


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs took place: the version of ONNX Runtime, and the processor."""

    runtime: str
    processor: str


def places(connection: Connection) -> list[Place]:
    """Return where runs took place."""
    query = select(runs.c.runtime, runs.c.processor).where(runs.c.runtime.is_not(None)).distinct()
    return [Place(*row) for row in connection.execute(query)]
