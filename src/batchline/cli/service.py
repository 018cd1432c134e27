"""The commands that run the service."""

from typing import TYPE_CHECKING, Annotated

import typer

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
)
from batchline.cli.run import run_on_schedule, run_until_empty
from batchline.cli.wiring import (
    announce,
    configure,
    make_job,
    opened,
    prepare,
    publish,
    stop_event,
)

if TYPE_CHECKING:
    from batchline.db.database import Database

app = typer.Typer()


@app.command()
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
    """Run API and batch job together; migrates first. Ctrl-C ends both."""
    settings = configure(locals())
    prepare(settings)
    from batchline.processes import Children

    stop = stop_event()
    with Children([["api"], ["job"]], settings.environment()) as children:
        status = children.wait_for_first(stop)
    if status is not None:
        raise typer.Exit(status or 1)


@app.command()
def api(
    database_url: DatabaseUrl = None,
    host: Host = None,
    port: Port = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run the API service alone: it registers and reads, and never predicts."""
    settings = configure(locals())
    with opened(settings) as database:
        announce("api", database, docs=f"http://{settings.host}:{settings.port}/docs")
    from batchline.api.app import create_app
    from batchline.api.server import serve
    from batchline.machine import collect_garbage_rarely

    service = create_app(settings)
    collect_garbage_rarely()
    serve(service, settings.host, settings.port)


@app.command()
def job(
    once: Annotated[
        bool, typer.Option("--once", help="Predict until nothing is pending, then end.")
    ] = False,
    database_url: DatabaseUrl = None,
    batch_wait_time: BatchWaitTime = None,
    worker_threads: WorkerThreads = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run the batch job alone, on a schedule, or once (for cron and Kubernetes CronJobs)."""
    settings = configure({name: value for name, value in locals().items() if name != "once"})
    with opened(settings) as database:
        publish(database, settings)
        if once and _has_nothing_to_do(database):
            typer.echo("0 items predicted, 0 failed")
            return
        stop = stop_event()
        if once:
            run_until_empty(make_job(database, settings, stop), settings)
        else:
            announce("job", database, every=f"{settings.batch_wait_time:g} s")
            run_on_schedule(make_job(database, settings, stop), settings)


@app.command()
def demo() -> None:
    """Predict the 150 iris flowers through a service of its own, and compare with their species."""
    from batchline import demo, logs

    logs.configure("WARNING", "console")
    raise typer.Exit(demo.run())


def _has_nothing_to_do(database: "Database") -> bool:
    """Then the job need not even be imported, which takes longer than looking."""
    from batchline.db import backfills
    from batchline.db.cruds import pending

    with database.read() as connection:
        return pending.first(connection) is None and not backfills.has_unfinished(connection)
