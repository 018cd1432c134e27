"""The commands: each wires the parts together. Imports are late, so that `--help` is quick."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from batchline import __version__

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.ml.predictor import Predictor
    from batchline.task.job import Job, Outcome

app = typer.Typer(
    name="batchline",
    help="Register rows now over HTTP or SQL, predict them in batches, read them by id.\n\n"
    "Start with `batchline demo`, then `batchline up`. Every option can also be set by the "
    "environment variable that its help names.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db_app = typer.Typer(help="The database's tables.", no_args_is_help=True)
app.add_typer(db_app, name="db")

# No option has a default or reads its variable here: `configurations` does both, for all commands.
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="SQLAlchemy URL of the database. [DATABASE_URL, or MYSQL_*]"),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [HOST=127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on. [PORT=8000]")]
BatchWaitTime = Annotated[
    float | None,
    typer.Option(help="Seconds between the starts of two runs. [BATCH_WAIT_TIME=60]"),
]
WorkerThreads = Annotated[
    int | None,
    typer.Option(help="Batches in prediction at once. [WORKER_THREADS, 2 to 4 by cores]"),
]
ModelFilepath = Annotated[
    Path | None, typer.Option(help="The ONNX model. [MODEL_FILEPATH, packaged: iris]")
]
LabelFilepath = Annotated[
    Path | None, typer.Option(help="JSON: class index to name. [LABEL_FILEPATH]")
]
LogLevel = Annotated[
    str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR. [LOG_LEVEL=INFO]")
]
LogFormat = Annotated[str | None, typer.Option(help="console or json. [LOG_FORMAT=console]")]


@app.callback(invoke_without_command=True)
def version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.")] = False,
) -> None:
    if version:
        typer.echo(f"batchline {__version__}")
        raise typer.Exit


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
    settings = _configure(locals())
    _prepare(settings)
    from batchline.processes import Children

    stop = _stop_event()
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
    settings = _configure(locals())
    database = _open_database(settings)
    _announce("api", database, docs=f"http://{settings.host}:{settings.port}/docs")
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
    settings = _configure({name: value for name, value in locals().items() if name != "once"})
    from batchline.processes import collect_garbage_seldom

    database = _open_database(settings)
    predictor = _load_model(settings)
    stop = _stop_event()
    if not once:
        _announce("job", database, every=f"{settings.batch_wait_time:g} s")
    batch_job = _make_job(database, predictor, stop)
    collect_garbage_seldom()
    if once:
        _run_once(batch_job, settings)
    else:
        from batchline.task.worker import Worker

        Worker(batch_job, threads=settings.worker_threads).run_forever(settings.batch_wait_time)
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
    from batchline.db.dialects import with_driver

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
    from batchline.db import cruds

    database = _open_database(_configure({"database_url": database_url}))
    total = 0
    while found := database.transaction(
        lambda connection: cruds.retry_failed(
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
    settings = _configure(locals())
    _prepare(settings)
    typer.echo("the database is ready")


# The parts -------------------------------------------------------------------------------------


def _configure(flags: dict[str, Any]) -> "Settings":
    from batchline import logs, processes
    from batchline.configurations import read_settings

    settings = read_settings(**flags)
    logs.configure(settings.log_level, settings.log_format)
    processes.end_with_parent()
    return settings


def _connect(settings: "Settings") -> "Database":
    """The database, which answers and is not too old."""
    from sqlalchemy.exc import DBAPIError

    from batchline.db.database import Database
    from batchline.db.dialects import check_version
    from batchline.errors import ConfigurationError

    database = Database(settings.url(), pool_size=max(8, 2 * settings.worker_threads))
    try:
        with database.read() as connection:
            check_version(connection)
    except (TypeError, ValueError, OSError, DBAPIError) as error:  # a driver refuses an option
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise ConfigurationError(
            f"DATABASE_URL cannot be used: {str(reason).strip()}",
            hint="check what follows the ? in it",
        ) from error
    return database


def _open_database(settings: "Settings") -> "Database":
    """The database, migrated."""
    from batchline.db import cruds
    from batchline.errors import SchemaOutdated

    database = _connect(settings)
    with database.read() as connection:
        if not cruds.schema_is_current(connection):
            raise SchemaOutdated(
                "the database is of another version of Batchline", hint="run `batchline db upgrade`"
            )
    return database


def _load_model(settings: "Settings") -> "Predictor":
    from batchline.ml.predictor import Predictor

    return Predictor.load(
        settings.model_filepath, settings.labels, parallel_calls=settings.worker_threads
    )


def _prepare(settings: "Settings") -> None:
    """Migrate, and publish the model: then the API can check rows before any job has started."""
    from batchline.db.migrations import upgrade

    predictor = _load_model(settings)
    database = _connect(settings)
    upgrade(database)
    _publish(database, predictor)
    database.close()


def _announce(role: str, database: "Database", **facts: str) -> None:
    import structlog

    structlog.get_logger(__name__).info(f"{role} starts", database=database.url, **facts)


def _publish(database: "Database", predictor: "Predictor") -> int:
    from batchline.constants import DEFAULT_MODEL
    from batchline.db import cruds

    return database.transaction(
        lambda connection: cruds.publish_model(
            connection,
            name=DEFAULT_MODEL,
            sha256=predictor.sha256,
            signature=predictor.signature.to_json(),
        )
    )


def _make_job(database: "Database", predictor: "Predictor", stop: threading.Event) -> "Job":
    import socket
    import uuid

    from batchline.task.job import Job

    owner = f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    return Job(database, predictor, _publish(database, predictor), owner, stop)


def _run_once(batch_job: "Job", settings: "Settings") -> None:
    from batchline.db import cruds
    from batchline.progress import progress_bar
    from batchline.task.worker import Worker

    with batch_job.database.read() as connection:
        pending = cruds.count_pending(connection) if sys.stderr.isatty() else 0
    with progress_bar("predicting", pending) as advance:

        def on_batch(outcome: "Outcome") -> None:
            advance(outcome.items)

        worker = Worker(batch_job, threads=settings.worker_threads, on_batch=on_batch)
        total = worker.run_once()
    typer.echo(f"{total.succeeded} items predicted, {total.failed} failed")


def _findings(flags: dict[str, Any]) -> tuple["Settings | None", list[tuple[str, str]]]:
    """The settings, if they can be read, and what is wrong: in words, and with a hint each."""
    from batchline.configurations import read_settings
    from batchline.errors import BatchlineError

    try:
        settings = read_settings(**flags)
    except BatchlineError as error:
        return None, [(error.detail, error.hint)]
    findings = []
    for attempt in (_open_database, _load_model):
        try:
            attempt(settings)
        except BatchlineError as error:
            findings.append((error.detail, error.hint))
    return settings, findings


def _stop_event() -> threading.Event:
    """An event that the first SIGTERM or Ctrl-C sets; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)  # an exception would wait for the threads
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


def main() -> None:
    """Run the command line; what Batchline can name ends with a sentence, not with a traceback."""
    from batchline.errors import BatchlineError

    try:
        app()
    except BatchlineError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        typer.echo(f"error: {error.detail}{hint}", err=True)
        raise SystemExit(1) from None
