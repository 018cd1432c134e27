"""Run the batch job in this process: on a schedule, or until it is done, with a progress bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from batchline.cli.wiring import make_job

if TYPE_CHECKING:
    from batchline.cli.stop_event import StopEvent
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

    with _assigned_job(database, settings, stop, assignment) as job:
        collect_garbage_rarely()
        board = assignment.board
        worker = Worker(
            job,
            threads=settings.worker_threads,
            on_suspects=board.report_suspects,
            show_life=board.show_life,
        )
        board.started()
        worker.run_forever(settings.batch_wait_time)


def run_suspects(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> None:
    """Predict the suspect items."""
    from batchline.task.worker import Worker

    with _assigned_job(database, settings, stop, assignment) as job:
        Worker(job, threads=1, on_batch=_counting(assignment)).run_suspects()


def run_until_empty(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> None:
    """Predict until no item is pending.

    Raises:
        typer.Exit: it was stopped before that.
    """
    from batchline.db.cruds import pending

    def count_left() -> int:
        with database.read() as connection:
            return pending.count(connection)

    with _assigned_job(database, settings, stop, assignment) as job:
        _run_to_the_end(
            job, settings, assignment, "predicting", count_left, lambda worker: worker.run_once()
        )


def run_backfill(
    database: "Database",
    settings: "Settings",
    stop: "StopEvent",
    assignment: "Assignment",
    backfill_id: int,
) -> None:
    """Predict until the backfill is done.

    Raises:
        typer.Exit: it was stopped before that.
    """
    from batchline.db import backfills

    def is_done() -> bool:
        return database.transaction(lambda c: backfills.end_if_done(c, backfill_id))

    def count_left() -> int:
        with database.read() as connection:
            return backfills.count_open(connection, backfill_id)

    with _assigned_job(database, settings, stop, assignment) as job:
        _run_to_the_end(
            job,
            settings,
            assignment,
            "backfilling",
            count_left,
            lambda worker: worker.run_until(is_done),
        )


@contextmanager
def _assigned_job(
    database: "Database", settings: "Settings", stop: "StopEvent", assignment: "Assignment"
) -> "Iterator[Job]":
    """Return the job of this process, and send its last traces at the end.

    The items of its predecessor, which died, become suspects, unless it died while it loaded a
    model and did nothing else.
    """
    job = make_job(database, settings, stop, assignment)
    if assignment.predecessor is not None:
        job.hand.succeed(assignment.predecessor, is_blameless=assignment.is_blameless)
    try:
        yield job
    finally:
        if job.tracing is not None:
            job.tracing.close()


def _run_to_the_end(
    job: "Job",
    settings: "Settings",
    assignment: "Assignment",
    title: str,
    count_left: Callable[[], int],
    run: "Callable[[Worker], Outcome]",
) -> None:
    """Run the job behind a progress bar. If it was stopped, say how much is left."""
    from batchline.machine import collect_garbage_rarely
    from batchline.progress import progress_bar
    from batchline.task.supervisor import STOPPED
    from batchline.task.worker import Worker

    items = count_left() if sys.stderr.isatty() else 0
    assignment.board.started()
    collect_garbage_rarely()
    with progress_bar(title, items) as advance:
        counting = _counting(assignment)

        def on_batch(outcome: "Outcome") -> None:
            counting(outcome)
            advance(outcome.items)

        on_suspects = assignment.board.report_suspects
        threads = settings.worker_threads
        run(Worker(job, threads=threads, on_batch=on_batch, on_suspects=on_suspects))
    left = count_left() if job.stop.is_set() else 0
    assignment.board.leave(left)
    if left:
        raise typer.Exit(STOPPED)


def _counting(assignment: "Assignment") -> "Callable[[Outcome], None]":
    def on_batch(outcome: "Outcome") -> None:
        assignment.count(succeeded=outcome.succeeded, failed=outcome.failed)

    return on_batch
