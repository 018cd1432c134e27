"""The command that predicts stored items with another version."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from batchline.cli.options import DatabaseUrl, ModelName, VersionNumber, WorkerThreads
from batchline.cli.run import run_backfill
from batchline.cli.wiring import configure, opened

app = typer.Typer()


class Finished(StrEnum):
    """The states of items that a backfill may predict."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@app.command()
def backfill(
    name: ModelName,
    version: VersionNumber = None,
    since: Annotated[
        datetime | None, typer.Option(help="Items created then or later, in UTC.")
    ] = None,
    until: Annotated[datetime | None, typer.Option(help="Items created before, in UTC.")] = None,
    status: Annotated[
        Finished, typer.Option(help="Items that succeeded, failed or were canceled.")
    ] = Finished.SUCCEEDED,
    database_url: DatabaseUrl = None,
    worker_threads: WorkerThreads = None,
) -> None:
    """Predict stored items with another version too; existing predictions are kept.

    Every job helps as soon as nothing is pending. Ctrl-C leaves the rest to the other jobs.
    """
    from batchline.db import backfills
    from batchline.registry.version import read_version

    settings = configure({"database_url": database_url, "worker_threads": worker_threads})
    with opened(settings) as database:
        found = read_version(database, name, version)
        new = backfills.NewBackfill(
            model=found.name,
            model_id=found.id,
            status=status.value,
            since=None if since is None else since.replace(tzinfo=UTC),
            until=None if until is None else until.replace(tzinfo=UTC),
        )
        backfill_id = database.transaction(lambda c: backfills.start(c, new))
        if backfill_id is None:
            typer.echo("there are no items")
            return
        run_backfill(database, settings, backfill_id, f"version {found.number} of {name}")
