"""Build the settings, database and job of a command.

Functions import what they need when they run, so that `--help` is quick.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchline.cli.actor import actor
from batchline.cli.runtime import runtime_of
from batchline.constants import COMMAND_STATEMENT_TIMEOUT, STATEMENT_TIMEOUT

if TYPE_CHECKING:
    from batchline.cli.database_wait import DatabaseWait
    from batchline.cli.predict_ask import RunSettings
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.ml.examination.report import ModelReport
    from batchline.ml.time_limit import TimeLimit
    from batchline.registry.loaded import ModelCache
    from batchline.registry.loads import Loads
    from batchline.registry.model_file import ModelFile
    from batchline.registry.publish import Replacement
    from batchline.registry.renewal import Renewal
    from batchline.task.job import Job
    from batchline.task.supervisor import Assignment
    from batchline.tracing import Tracing


def configure(flags: dict[str, Any], role: str = "") -> "Settings":
    """Read the settings, configure logging and watch the parent process, if there is one.

    Args:
        role: as for `logs.configure`.
    """
    settings = configure_silently(flags)
    configure_logging(settings, role)
    return settings


def configure_silently(flags: dict[str, Any]) -> "Settings":
    """Do it without logging, which takes a tenth of a second to import, until there is an event."""
    from batchline import processes
    from batchline.configurations import read_settings

    settings = read_settings(**flags)
    processes.stop_with_parent()
    return settings


def configure_logging(
    settings: "Settings | RunSettings", role: str = "", process: str = ""
) -> None:
    from batchline import logs

    logs.configure(settings.log_level, settings.log_format, role, process)


def connect(
    settings: "Settings",
    *,
    create: bool = False,
    wait: "DatabaseWait | None" = None,
    timeout: float = STATEMENT_TIMEOUT,
    on_open: Callable[["Database"], object] = lambda database: None,
) -> "Database":
    """Return the database after a check that it responds and that its version is supported.

    Args:
        create: whether SQLite creates the file if it is missing.
        wait: for a server that is not up yet.
        timeout: seconds for one statement.
        on_open: called before the first statement.
    """
    from batchline.db.database import Database

    pool_size = max(8, 2 * settings.worker_threads)
    database = Database(
        settings.url(),
        pool_size=pool_size,
        timeout=timeout,
        must_exist=not create,
        renew=lambda: settings.renewed().url(),
    )
    on_open(database)
    if wait is None:
        database.check_server()
    else:
        wait.until(database.check_server)
    return database


def connect_to(settings: "Settings", url: str, variable: str) -> "Database":
    """Return a database that is not Batchline's own, under the name of its setting in errors."""
    from batchline.db.database import Database
    from batchline.errors import ConfigurationError, SchemaOutdated

    def renew() -> str:
        now = settings.renewed()
        others = {"SOURCE_DATABASE_URL": now.source_url, "TARGET_DATABASE_URL": now.target_url}
        return others.get(variable, now.url)()

    try:
        pool_size = max(4, settings.worker_threads)
        database = Database(url, pool_size=pool_size, must_exist=True, renew=renew)
        database.check_server()
    except SchemaOutdated as error:
        raise ConfigurationError(error.detail, hint=f"correct {variable}") from error
    except ConfigurationError as error:
        named = [text.replace("DATABASE_URL", variable) for text in (error.detail, error.hint)]
        raise ConfigurationError(named[0], hint=named[1]) from error
    return database


@contextmanager
def opened(
    settings: "Settings",
    wait: "DatabaseWait | None" = None,
    *,
    timeout: float = STATEMENT_TIMEOUT,
    on_open: Callable[["Database"], object] = lambda database: None,
) -> Iterator["Database"]:
    """Open a database, check that it has been migrated, and close it at the end."""
    from batchline.db.cruds import schema

    database = connect(settings, wait=wait, timeout=timeout, on_open=on_open)
    try:
        with database.read() as connection:
            schema.check(connection)
        yield database
    finally:
        database.close()


def opened_for_a_moment(settings: "Settings") -> AbstractContextManager["Database"]:
    """Open it for a command with quick statements only, which soon finds that the server hangs."""
    return opened(settings, timeout=COMMAND_STATEMENT_TIMEOUT)


def prepare_database(
    settings: "Settings", wait: "DatabaseWait | None" = None
) -> "tuple[list[Renewal], Replacement | None]":
    """Migrate the database, examine old versions again, and add the default model.

    Its signature lets the API check rows before any job has started. Return the versions that were
    examined again, and the default model's replacement.
    """
    from batchline.db.migrations import upgrade

    with closing(connect(settings, create=True, wait=wait)) as database:
        upgrade(database)
        return _renew_versions(database, settings), ensure_default_model(database, settings)


def _renew_versions(database: "Database", settings: "Settings") -> "list[Renewal]":
    from batchline.ml.signature import SIGNATURE_FORMAT
    from batchline.registry.version import read_versions

    if all(each.format == SIGNATURE_FORMAT for each in read_versions(database)):
        return []  # the usual case, which imports no ONNX Runtime
    from functools import partial

    from batchline.registry.probe import Probe
    from batchline.registry.renewal import renew

    with Probe() as probe:
        examine = partial(probe.examine, runtime=runtime_of(settings))
        return list(renew(database, examine, actor()))


def log_start(database: "Database", **facts: Any) -> None:
    """Log that this process starts, with its database."""
    import structlog

    structlog.get_logger(__name__).info("starting", database=database.url, **facts)


def begin_tracing(role: str) -> "Tracing | None":
    """Return the tracing of this process, if the variables of OpenTelemetry ask for it.

    A service without a package for it continues without traces: these variables are often set for
    all services of a cluster.
    """
    from batchline import __version__, tracing

    try:
        return tracing.from_environment(role, __version__, os.environ)
    except tracing.NotInstalled as error:
        import structlog

        packages = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        hint = f"run `pip install {packages}`, or set OTEL_TRACES_EXPORTER=none"
        structlog.get_logger(__name__).warning("no traces", detail=str(error), hint=hint)
        return None


def log_end(command: str, status: int) -> None:
    """Log that a child process of `up` has ended by itself. A negative status is a signal."""
    import structlog

    structlog.get_logger(__name__).error(
        "a process has ended, so `up` stops the other one",
        process=command,
        exit_status=status if status >= 0 else signal.Signals(-status).name,
    )


def log_replacement(replacement: "Replacement | None") -> None:
    """Log that the settings have changed which version is the default model."""
    if replacement is not None:
        import structlog

        structlog.get_logger(__name__).warning(
            "default model replaced by MODEL_FILEPATH",
            active=str(replacement.new),
            before=str(replacement.old),
        )


def ensure_default_model(database: "Database", settings: "Settings") -> "Replacement | None":
    """Make the model file of the settings the active version of the default model.

    The bundled model does not replace an active version. Return what was replaced, if anything was.
    """
    from batchline.constants import DEFAULT_MODEL
    from batchline.db.cruds import versions

    with database.read() as connection:
        if versions.has_active(connection, DEFAULT_MODEL) and not settings.chose_model:
            return None
    from batchline.registry.publish import publish_default

    def examine(file: "ModelFile") -> "ModelReport":
        from batchline.cli.trial import examined

        return examined(settings, file)

    path, labels = settings.model_filepath, settings.labels
    return publish_default(database, DEFAULT_MODEL, path, labels, examine, actor())


def make_job(
    database: "Database", settings: "Settings", stop: threading.Event, assignment: "Assignment"
) -> "Job":
    """Return the batch job of a child process. `stop` asks it to stop.

    Raises:
        DatabaseUnavailable: the database cannot be written to.
    """
    from functools import partial

    from batchline.constants import HURRY_SECONDS, HURRY_SHARE
    from batchline.db.cruds import claim_lock
    from batchline.ml.time_limit import TimeLimit
    from batchline.task import stuck
    from batchline.task.hand import Hand
    from batchline.task.job import Job

    database.transaction(claim_lock.check_writable)
    hand = Hand(database, assignment.owner)
    on_stuck = partial(stuck.end_process, hand, lambda failed: assignment.count(failed=failed))
    limit = TimeLimit(settings.model_timeout, on_stuck)
    hurry = TimeLimit(
        max(HURRY_SECONDS, settings.model_timeout * HURRY_SHARE), partial(on_stuck, put_off=True)
    )
    models = make_model_cache(database, settings, limit, assignment.loads)
    return Job(
        database,
        models,
        hand,
        stop,
        hurry=hurry if hurry.seconds < limit.seconds else None,
        tracing=begin_tracing("job"),
    )


def make_model_cache(
    database: "Database",
    settings: "Settings",
    limit: "TimeLimit | None" = None,
    loads: "Loads | None" = None,
) -> "ModelCache":
    from batchline.registry.loaded import NO_RECORD, ModelCache

    max_bytes = settings.models_max_megabytes * 1024 * 1024
    runtime = replace(runtime_of(settings), limit=limit)
    return ModelCache(database, runtime, max_bytes, loads or NO_RECORD)
