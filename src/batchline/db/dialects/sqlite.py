"""SQLite's connections: WAL, write transactions, and files that were replaced."""

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
)
from sqlalchemy.exc import (
    DisconnectionError,
)

from batchline.constants import (
    SQLITE_BUSY_TIMEOUT,
    SQLITE_POLL_INTERVAL,
)

STATEMENT_PARAMETERS = 30_000
"""SQLite allows 32,766 by default. Some distributions allow more."""


def prepare_connection(connection: Any, record: Any) -> None:
    """Configure a new connection, and remember which file it has opened."""
    # Python's driver would begin transactions itself, and too late. `begin` does it instead.
    connection.isolation_level = None
    connection.text_factory = _to_text
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = path, _identity(path)


def _to_text(stored: bytes) -> str:
    # SQLite stores any bytes as text. By default, one of them would fail all rows of a query.
    return stored.decode(errors="replace")


def _switch_to_wal(driver: Any) -> None:
    # Another process may switch the same new file. SQLite raises SQLITE_BUSY for the second one
    # without waiting for the busy timeout, because two such processes could deadlock.
    end = time.monotonic() + SQLITE_BUSY_TIMEOUT
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(SQLITE_POLL_INTERVAL)
        else:
            return


def check_file(connection: Any, record: Any, proxy: Any) -> None:
    """Reconnect if the database file was deleted or replaced.

    SQLite would continue to write to the old file, and the data would be lost.
    """
    path, identity = record.info["file"]
    if _identity(path) != identity:
        raise DisconnectionError(f"{path} was deleted or replaced")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def begin(connection: Connection) -> None:
    """Begin a transaction, and take the write lock if it is going to write.

    A transaction that reads first and writes later fails if another one wrote in between, whatever
    the busy timeout is.
    """
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("BEGIN")
    elif not _begin_quickly(connection.connection.driver_connection, options["patience"]):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_quickly(driver: Any, patience: float) -> bool:
    """Poll the write lock every millisecond. SQLite itself polls after 1, 3, 8, 18 and 33 ms.

    Return False if the lock is still held after `patience` seconds, or if SQLite raises another
    error. Then the caller's BEGIN IMMEDIATE waits for the busy timeout or raises that error.
    """
    end = time.monotonic() + patience
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < end:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    return False
                time.sleep(SQLITE_POLL_INTERVAL)
            else:
                return True
    finally:
        driver.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_TIMEOUT * 1000)}")
    return False
