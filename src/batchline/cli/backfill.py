"""The command that predicts existing items with another version."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from batchline.cli.actor import actor
from batchline.cli.job_process import supervise
from batchline.cli.options import (
    UTC_TIME,
    DatabaseUrl,
    ModelName,
    VersionNumber,
    WorkerThreads,
    examples,
    one_of,
)
from batchline.cli.output import predicted
from batchline.cli.run import run_backfill
from batchline.cli.wiring import opened

if TYPE_CHECKING:
    from batchline.cli.stop_event import StopEvent
    from batchline.db.database import Database
    from batchline.task.supervisor import Assignment

app = typer.Typer()

HELPED = "note: these numbers leave out the items that other jobs have predicted for this backfill"


class FinishedStatus(StrEnum):
    """The statuses of items that a backfill can predict."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


Since = Annotated[
    datetime | None,
    typer.Option(**UTC_TIME, help="Predict items created at this UTC time or later."),
]
Until = Annotated[
    datetime | None,
    typer.Option(**UTC_TIME, help="Predict items created before this UTC time."),
]
Status = Annotated[
    FinishedStatus,
    typer.Option(**one_of(FinishedStatus), help="Predict items with this status."),
]


@app.command(epilog=examples("batchline backfill churn --version 2 --since 2026-11-01"))
def backfill(
    name: ModelName,
    version: VersionNumber = None,
    since: Since = None,
    until: Until = None,
    status: Status = FinishedStatus.SUCCEEDED,
    database_url: DatabaseUrl = None,
    worker_threads: WorkerThreads = None,
) -> None:
    """Predict existing items with another version too.

    Existing predictions are kept. Other jobs help as soon as no item is pending. Ctrl-C stops this
    command, and the other jobs continue the backfill.
    """
    from batchline.configurations import read_settings
    from batchline.db.backfills import NewBackfill, start
    from batchline.registry.version import check_not_removed, read_version

    settings = read_settings(database_url=database_url, worker_threads=worker_threads)
    with opened(settings) as database:
        chosen = read_version(database, name, version)
        check_not_removed(chosen)
        new = NewBackfill(chosen.name, chosen.id, status.value, since, until)
        who = actor()
        backfill_id = database.transaction(lambda connection: start(connection, new, who))
        note = HELPED if _has_helpers(database) else ""
    title = f"version {chosen.number} of {name}: "
    if backfill_id is None:
        typer.echo(title + predicted(0, 0))
        return

    def work(database: "Database", stop: "StopEvent", assignment: "Assignment") -> None:
        run_backfill(database, settings, stop, assignment, backfill_id)

    supervise(settings, work, once=True, title=title, note=note)


def _has_helpers(database: "Database") -> bool:
    from batchline.db.cruds.claim_lock import database_time
    from batchline.db.cruds.job_processes import alive

    with database.read() as connection:
        return bool(alive(connection, database_time(connection)))
