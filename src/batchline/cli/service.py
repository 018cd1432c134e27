"""The commands that run the service and look after its database."""

from typing import TYPE_CHECKING, Annotated, Any

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
from batchline.cli.wiring import (
    announce,
    check_model,
    check_versions,
    configure,
    make_job,
    open_database,
    prepare,
    publish,
    stop_event,
)
from batchline.cli.work import work_off_pending, work_on_schedule

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database

app = typer.Typer()
db_app = typer.Typer(help="The database's tables.", no_args_is_help=True)
app.add_typer(db_app, name="db")


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
    database = open_database(settings)
    announce("api", database, docs=f"http://{settings.host}:{settings.port}/docs")
    database.close()
    from batchline.api.app import create_app
    from batchline.api.server import serve
    from batchline.processes import collect_garbage_seldom

    service = create_app(settings)
    collect_garbage_seldom()
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
    database = open_database(settings)
    publish(database, settings)
    if once and _has_nothing_to_do(database):
        typer.echo("0 items predicted, 0 failed")
        return
    stop = stop_event()
    if once:
        work_off_pending(make_job(database, settings, stop), settings)
    else:
        announce("job", database, every=f"{settings.batch_wait_time:g} s")
        work_on_schedule(make_job(database, settings, stop), settings)
    database.close()


@app.command()
def demo() -> None:
    """Predict the 150 iris flowers through a service of its own, and compare with their species."""
    from batchline import demo, logs

    logs.configure("WARNING", "console")
    raise typer.Exit(demo.run())


@app.command()
def check(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Say what is wrong with this configuration, with a hint for each finding."""
    settings, findings = _findings(locals())
    for detail, hint in findings:
        typer.echo(f"✗ {detail}\n  hint: {hint}")
    if findings or settings is None:
        raise typer.Exit(1)
    from batchline.db.dialects.connections import with_driver

    typer.echo(f"✓ the database answers: {with_driver(settings.url()).render_as_string()}")
    typer.echo(f"✓ the model works: {settings.model_filepath}")


@app.command()
def retry(
    item_id: Annotated[
        list[int] | None, typer.Option("--id", min=1, help="This item; may be repeated.")
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="All that failed with this code, such as model_error.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make failed items pending again; the next run predicts them."""
    if sum((bool(item_id), code is not None, everything)) != 1:
        raise typer.BadParameter("say which: --id ID, --code CODE or --all")
    from batchline.constants import RETRY_ITEMS
    from batchline.db.cruds import results

    database = open_database(configure({"database_url": database_url}))
    total = 0
    while found := database.transaction(
        lambda connection: results.retry_failed(
            connection, item_ids=item_id or [], code=code, limit=RETRY_ITEMS
        )
    ):
        total += found
    database.close()
    typer.echo(f"{total} items are pending again")


@db_app.command()
def upgrade(
    database_url: DatabaseUrl = None,
    model_filepath: ModelFilepath = None,
    label_filepath: LabelFilepath = None,
) -> None:
    """Migrate the database, and publish the model's signature for the API to check rows with."""
    settings = configure(locals())
    prepare(settings)
    typer.echo("the database is ready")


def _has_nothing_to_do(database: "Database") -> bool:
    """Then the job need not even be imported, which takes longer than looking."""
    from batchline.db import backfills
    from batchline.db.cruds import pending

    with database.read() as connection:
        return pending.first(connection) is None and not backfills.has_unfinished(connection)


def _findings(flags: dict[str, Any]) -> tuple["Settings | None", list[tuple[str, str]]]:
    """The settings, if they can be read, and what is wrong: in words, and with a hint each."""
    from batchline.configurations import read_settings
    from batchline.errors import BatchlineError

    try:
        settings = read_settings(**flags)
    except BatchlineError as error:
        return None, [(error.detail, error.hint)]
    findings = []
    for attempt in (open_database, check_model, check_versions):
        try:
            attempt(settings)
        except BatchlineError as error:
            findings.append((error.detail, error.hint))
    return settings, list(dict.fromkeys(findings))  # two of them may need the database
