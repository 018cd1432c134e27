"""What the commands put together; imports are late, so that `--help` is quick."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.ml.session import Runtime
    from batchline.registry.loaded import ModelCache
    from batchline.task.job import Job


def configure(flags: dict[str, Any]) -> "Settings":
    from batchline import logs, processes
    from batchline.configurations import read_settings

    settings = read_settings(**flags)
    logs.configure(settings.log_level, settings.log_format)
    processes.end_with_parent()
    return settings


def connect(settings: "Settings") -> "Database":
    """Return the database, which responds and is not too old."""
    from batchline.db.database import Database

    database = Database(settings.url(), pool_size=max(8, 2 * settings.worker_threads))
    database.check_server()
    return database


@contextmanager
def opened(settings: "Settings") -> Iterator["Database"]:
    """Open the database, which has been migrated, and close it at the end."""
    from batchline.db.cruds import schema

    database = connect(settings)
    try:
        with database.read() as connection:
            schema.check(connection)
        yield database
    finally:
        database.close()


def check_database(settings: "Settings") -> None:
    """Open the database and close it."""
    with opened(settings):
        pass


def check_model(settings: "Settings") -> None:
    from batchline.registry.publish import ModelFile

    ModelFile.read(str(settings.model_filepath), settings.labels).examine(None, None)


def prepare(settings: "Settings") -> None:
    """Migrate, and publish the model: then the API can check rows before any job has started."""
    from batchline.db.migrations import upgrade

    database = connect(settings)
    upgrade(database)
    publish(database, settings)
    database.close()


def announce(role: str, database: "Database", **facts: str) -> None:
    import structlog

    structlog.get_logger(__name__).info(f"{role} starts", database=database.url, **facts)


def publish(database: "Database", settings: "Settings") -> None:
    """Let the model that the user has named be the default one; else one that is packaged."""
    from batchline.constants import DEFAULT_MODEL
    from batchline.db.cruds import versions

    with database.read() as connection:
        if versions.has_active(connection, DEFAULT_MODEL) and not settings.chose_model:
            return
    from batchline.registry.publish import publish_default

    publish_default(database, DEFAULT_MODEL, settings.model_filepath, settings.labels)


def check_models(settings: "Settings") -> None:
    """Load each active version of a model, as a job would."""
    with opened(settings) as database:
        models = _models(database, settings)
        for version in models.active().values():
            models.predictor(version)


def make_job(database: "Database", settings: "Settings", stop: threading.Event) -> "Job":
    import socket
    import uuid

    from batchline.db.cruds import claim_lock
    from batchline.task.hand import Hand
    from batchline.task.job import Job

    database.transaction(claim_lock.check_writable)  # it can be written to, or that is said now
    owner = f"{socket.gethostname()[:20]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    return Job(database, _models(database, settings), Hand(database, owner), stop)


def _models(database: "Database", settings: "Settings") -> "ModelCache":
    from batchline.registry.loaded import ModelCache

    max_bytes = settings.models_max_megabytes * 1024 * 1024
    return ModelCache(database, runtime_of(settings), max_bytes)


def stop_event() -> threading.Event:
    """An event that the first SIGTERM or Ctrl-C sets; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)  # an exception would wait for the threads
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    return stop


def runtime_of(settings: "Settings") -> "Runtime":
    """How models are run here."""
    from batchline.ml.session import Runtime

    return Runtime(
        providers=settings.providers,
        threads=settings.model_threads,
        parallel_calls=settings.worker_threads,
        optimization=settings.graph_optimization,
    )
