"""The commands that run the API and the batch job: up, api, job, demo."""

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from batchline.cli.database_wait import DatabaseWait
from batchline.cli.exposure import listen_if_allowed, log_listening, rules_of
from batchline.cli.job_metrics import listen_for_metrics
from batchline.cli.job_process import supervise
from batchline.cli.options import (
    BatchWaitTime,
    DatabaseUrl,
    Host,
    LabelFilepath,
    LogFormat,
    LogLevel,
    ModelFilepath,
    Port,
    WorkerThreads,
    examples,
)
from batchline.cli.run import run_on_schedule, run_until_empty
from batchline.cli.stop_event import stop_event
from batchline.cli.wiring import (
    begin_tracing,
    configure,
    ensure_default_model,
    log_end,
    log_replacement,
    log_start,
    opened,
    prepare_database,
)

if TYPE_CHECKING:
    from batchline.cli.stop_event import StopEvent
    from batchline.db.database import Database
    from batchline.task.supervisor import Assignment

app = typer.Typer()


@app.command(
    epilog=examples("batchline up --database-url sqlite:///batchline.db --batch-wait-time 5")
)
def up(
    database_url: DatabaseUrl = None,
    host: Host = None,
    port: Port = None,
    batch_wait_time: BatchWaitTime = None,
    worker_threads: WorkerThreads = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Migrate the database, then run the API and the batch job.

    Ctrl-C or SIGTERM stops both.
    """
    settings = configure(locals())
    _, replacement = prepare_database(settings, DatabaseWait(settings.database_wait))
    log_replacement(replacement)
    with opened(settings) as database:  # a taken port ends it before the job runs
        listen_if_allowed(settings, database, "up").close()
    from batchline.processes import ChildProcesses

    stop = stop_event()
    with ChildProcesses([["api"], ["job"]], settings.environment()) as children:
        ended = children.wait_for_first(stop)
        if ended is not None:
            log_end(*ended)
    if ended is not None:
        status = ended[1]
        raise typer.Exit(128 - status if status < 0 else status or 1)
    if set(children.statuses()) - {0, -signal.SIGTERM}:  # a process that starts has no handler
        raise typer.Exit(128 + stop.signal)


@app.command()
def api(
    database_url: DatabaseUrl = None,
    host: Host = None,
    port: Port = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run only the API. It registers items and reads predictions."""
    settings = configure(locals(), "api")
    with opened(settings, DatabaseWait(settings.database_wait)) as database:
        listener = listen_if_allowed(settings, database, "api")
        log_start(database)
        log_listening(settings, database, listener)
    from batchline.api.app import create_app
    from batchline.api.server import serve
    from batchline.machine import collect_garbage_rarely

    application, rules = create_app(settings), rules_of(settings, listener)
    collect_garbage_rarely()
    tracing = begin_tracing("api")
    try:
        serve(application, listener, rules, tracing)
    finally:
        if tracing is not None:
            tracing.close()


@app.command()
def job(
    once: Annotated[
        bool, typer.Option("--once", help="Predict until no item is pending, then exit.")
    ] = False,
    database_url: DatabaseUrl = None,
    batch_wait_time: BatchWaitTime = None,
    worker_threads: WorkerThreads = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run only the batch job.

    It starts a run every BATCH_WAIT_TIME seconds. With --once, it exits when no item is pending,
    for cron and Kubernetes CronJobs.
    """
    from batchline.configurations import read_settings

    settings = read_settings(**{name: each for name, each in locals().items() if name != "once"})

    def work(database: "Database", stop: "StopEvent", assignment: "Assignment") -> None:
        if assignment.predecessor is None:  # else a version was activated since, perhaps
            log_replacement(ensure_default_model(database, settings))
        if once and _is_idle(database):
            return
        if not once:
            log_start(database, batch_wait_seconds=settings.batch_wait_time)
        run = run_until_empty if once else run_on_schedule
        run(database, settings, stop, assignment)

    # A run that ends is too short for Prometheus, and runs that overlap would fight for the port.
    listener = None if once else listen_for_metrics(settings)
    wait = settings.database_wait
    supervise(settings, work, once=once, database_wait=wait, listener=listener)


@app.command()
def demo() -> None:
    """Predict 150 iris flowers with a temporary service.

    Prints a table of the predictions next to the known species.
    """
    from batchline import demo, logs

    logs.configure("WARNING", "console")
    raise typer.Exit(demo.run())


def _is_idle(database: "Database") -> bool:
    """Return whether there is nothing to predict.

    This query is faster than the import of the job, which an idle `job --once` skips.
    """
    from batchline.db import backfills
    from batchline.db.cruds import pending

    with database.read() as connection:
        return not pending.exists(connection) and not backfills.has_unfinished(connection)
