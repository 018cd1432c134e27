"""Run the batch job in this process: on a schedule, or until it is done, with a progress bar."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from batchline.cli.output import count, predicted
from batchline.cli.wiring import make_job, stop_event

if TYPE_CHECKING:
    from batchline.cli.wiring import StopEvent
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.task.job import Job, Outcome
    from batchline.task.supervisor import Assignment
    from batchline.task.worker import Worker


def run_on_schedule(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> None:
    """Start a run every `BATCH_WAIT_TIME` seconds until the process is asked to stop."""
    from batchline.machine import collect_garbage_rarely
    from batchline.task.worker import Worker

    job = _assigned_job(database, settings, stop, assignment)
    collect_garbage_rarely()
    on_suspects = assignment.board.report_suspects
    worker = Worker(job, threads=settings.worker_threads, on_suspects=on_suspects)
    assignment.board.started()
    worker.run_forever(settings.batch_wait_time)


def run_suspects(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> None:
    """Predict the suspect items."""
    from batchline.task.worker import Worker

    Worker(_assigned_job(database, settings, stop, assignment), threads=1).run_suspects()


def run_until_empty(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> None:
    """Predict until no item is pending.

    Raises:
        typer.Exit: it was stopped before that, with the usual status of the signal.
    """
    from batchline.db.cruds import pending

    job = _assigned_job(database, settings, stop, assignment)
    with database.read() as connection:
        items = pending.count(connection) if sys.stderr.isatty() else 0
    assignment.board.started()
    on_suspects = assignment.board.report_suspects
    total = _run_with_progress(
        job, settings, "predicting", items, lambda worker: worker.run_once(), on_suspects
    )
    with database.read() as connection:
        left = pending.count(connection) if stop.is_set() else 0
    end = f", stopped with {count(left, 'item')} left" if left else ""
    typer.echo(predicted(total.succeeded, total.failed) + end)
    if total.failed:
        typer.echo("hint: run `batchline failures` to see why items failed", err=True)
    if left:
        raise typer.Exit(128 + stop.signal)


def _assigned_job(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> "Job":
    """Return the job of this process. The items of its predecessor, which died, become suspects."""
    job = make_job(database, settings, stop, assignment.owner)
    if assignment.predecessor is not None:
        job.hand.expire(f"{assignment.predecessor}-")
    return job


def run_backfill(database: "Database", settings: "Settings", backfill_id: int, title: str) -> None:
    """Predict until the backfill is done, and print the outcome under this title."""
    from batchline.db import backfills

    def is_done() -> bool:
        return database.transaction(lambda c: backfills.end_if_done(c, backfill_id))

    with database.read() as connection:
        items = backfills.count_open(connection, backfill_id) if sys.stderr.isatty() else 0
    job = make_job(database, settings, stop_event())
    total = _run_with_progress(
        job, settings, "backfilling", items, lambda worker: worker.run_until(is_done)
    )
    typer.echo(f"{title}: {predicted(total.succeeded, total.failed)}")
    if not is_done():
        typer.echo("backfill: not finished, other jobs continue it")


def _run_with_progress(
    job: "Job",
    settings: "Settings",
    title: str,
    items: int,
    run: "Callable[[Worker], Outcome]",
    on_suspects: "Callable[[], None] | None" = None,
) -> "Outcome":
    """Run the job behind a progress bar of `items` steps and return the outcome of all batches."""
    from batchline.machine import collect_garbage_rarely
    from batchline.progress import progress_bar
    from batchline.task.worker import Worker

    collect_garbage_rarely()
    with progress_bar(title, items) as advance:

        def on_batch(outcome: "Outcome") -> None:
            advance(outcome.items)

        threads = settings.worker_threads
        return run(Worker(job, threads=threads, on_batch=on_batch, on_suspects=on_suspects))
