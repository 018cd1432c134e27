"""What a job does in this process: on a schedule, or with an end and a progress bar."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from batchline.cli.wiring import make_job, stop_event

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.task.job import Job, Outcome
    from batchline.task.worker import Worker


def run_on_schedule(job: "Job", settings: "Settings") -> None:
    """Predict what is pending, again and again, until stopped."""
    from batchline.machine import collect_garbage_rarely
    from batchline.task.worker import Worker

    collect_garbage_rarely()
    Worker(job, threads=settings.worker_threads).run_forever(settings.batch_wait_time)


def run_until_empty(job: "Job", settings: "Settings") -> None:
    """Predict until nothing is pending."""
    from batchline.db.cruds import pending

    with job.database.read() as connection:
        waiting = pending.count(connection) if sys.stderr.isatty() else 0
    total = _work(job, settings, "predicting", waiting, lambda worker: worker.run_once())
    typer.echo(f"{total.succeeded} items predicted, {total.failed} failed")


def run_backfill(
    database: "Database", settings: "Settings", backfill_id: int, version: str
) -> None:
    """Predict until the backfill has ended."""
    from batchline.db import backfills

    def is_done() -> bool:
        return database.transaction(lambda c: backfills.end_if_done(c, backfill_id))

    with database.read() as connection:
        items = backfills.count_open(connection, backfill_id) if sys.stderr.isatty() else 0
    job = make_job(database, settings, stop_event())
    total = _work(job, settings, "backfilling", items, lambda worker: worker.run_until(is_done))
    rest = "" if is_done() else "; other jobs go on with the rest"
    typer.echo(f"{version}: {total.succeeded} items predicted here, {total.failed} failed{rest}")


def _work(
    job: "Job", settings: "Settings", title: str, items: int, run: "Callable[[Worker], Outcome]"
) -> "Outcome":
    from batchline.machine import collect_garbage_rarely
    from batchline.progress import progress_bar
    from batchline.task.worker import Worker

    collect_garbage_rarely()
    with progress_bar(title, items) as advance:

        def on_batch(outcome: "Outcome") -> None:
            advance(outcome.items)

        return run(Worker(job, threads=settings.worker_threads, on_batch=on_batch))
