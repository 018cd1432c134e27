"""The command that predicts existing items with another version."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from batchline.cli.actor import actor
from batchline.cli.options import DatabaseUrl, ModelName, VersionNumber, WorkerThreads, utc_time
from batchline.cli.output import predicted
from batchline.cli.run import run_backfill
from batchline.cli.wiring import configure, opened

app = typer.Typer()


class FinishedStatus(StrEnum):
    """The statuses of items that a backfill can predict."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


Since = Annotated[
    datetime | None,
    typer.Option(
        parser=utc_time, metavar="TIME", help="Predict items created at this UTC time or later."
    ),
]
Until = Annotated[
    datetime | None,
    typer.Option(
        parser=utc_time, metavar="TIME", help="Predict items created before this UTC time."
    ),
]
Status = Annotated[
    FinishedStatus,
    typer.Option(metavar="STATUS", help="Predict items with this status: succeeded or failed."),
]


@app.command()
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
    from batchline.db import backfills
    from batchline.registry.publish import check_not_removed
    from batchline.registry.version import read_version

    settings = configure({"database_url": database_url, "worker_threads": worker_threads})
    with opened(settings) as database:
        chosen = read_version(database, name, version)
        check_not_removed(chosen)
        new = backfills.NewBackfill(
            model=chosen.name,
            model_id=chosen.id,
            status=status.value,
            since=since,
            until=until,
        )
        who = actor()
        backfill_id = database.transaction(lambda c: backfills.start(c, new, who))
        title = f"version {chosen.number} of {name}"
        if backfill_id is None:
            typer.echo(f"{title}: {predicted(0, 0)}")
            return
        run_backfill(database, settings, backfill_id, title)
