"""End a command soon if the database stops responding, and not if a statement takes its time."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from batchline.cli.wiring import opened

if TYPE_CHECKING:
    from batchline.configurations import Settings
    from batchline.db.database import Database
    from batchline.db.statement_watch import StatementWatch

PATIENCE = 5.0
"""Seconds for a statement before the server is asked about it."""
INTERVAL = 1.0
NUMBER = signal.SIGUSR1


class _Silent(BaseException):
    """Interrupts a statement. SQLAlchemy closes the connection without a ROLLBACK."""


@contextmanager
def opened_while_it_responds(settings: "Settings") -> Iterator["Database"]:
    """Open the database for a command. A statement may take up to `STATEMENT_TIMEOUT`.

    Raises:
        DatabaseUnavailable: the database has stopped responding, as it is found within 15 seconds.
    """
    from batchline.errors import DatabaseUnavailable

    with ExitStack() as watching:
        try:
            begin = watching.enter_context
            with opened(settings, on_open=lambda found: begin(_watched(found))) as database:
                yield database
        except _Silent as silent:
            raise DatabaseUnavailable(
                f"the database {silent} does not respond",
                hint="check that the database server is running; what was committed stays stored",
            ) from None


@contextmanager
def _watched(database: "Database") -> Iterator[None]:
    if database.engine.dialect.name == "sqlite":
        yield
        return
    from batchline.db.statement_watch import StatementWatch

    watch, is_done = StatementWatch(database), threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if watch.seconds > PATIENCE:  # it may have ended at the last moment
            raise _Silent(database.url)

    before = signal.signal(NUMBER, interrupt)
    threading.Thread(target=_look, args=(watch, is_done), daemon=True).start()
    try:
        yield
    finally:
        is_done.set()
        signal.signal(NUMBER, before)


def _look(watch: "StatementWatch", is_done: threading.Event) -> None:
    """Interrupt the main thread if the server does not work on its statement."""
    while not is_done.wait(INTERVAL):
        if watch.seconds > PATIENCE and not watch.is_answered() and not is_done.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, NUMBER)
