"""SQLite's connections: WAL, who writes next, and a file that was replaced."""

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
    TURNSTILE_INTERVAL,
)


def prepare_connection(connection: Any, record: Any) -> None:
    # Python's driver would begin transactions by itself, and too late; `_begin_sqlite` does it.
    connection.isolation_level = None
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = path, _identity(path)


def _switch_to_wal(driver: Any) -> None:
    # On a new file another process may be doing the same. SQLite refuses the second at once instead
    # of letting it wait, as two that wait for each other would do so for ever.
    end = time.monotonic() + SQLITE_BUSY_TIMEOUT
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(TURNSTILE_INTERVAL)
        else:
            return


def check_file(connection: Any, record: Any, proxy: Any) -> None:
    # SQLite goes on writing to a file that was deleted, and nobody would ever see it again.
    path, identity = record.info["file"]
    if _identity(path) != identity:
        raise DisconnectionError(f"{path} is another file than it was")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def begin(connection: Connection) -> None:
    # A transaction that starts as a reader and then writes fails at once if another one wrote in
    # between, busy timeout or not; one that will write says so when it begins.
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("BEGIN")
    elif not _begin_quickly(connection.connection.driver_connection, options["patience"]):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_quickly(driver: Any, patience: float) -> bool:
    """Take the write lock as soon as it is free; SQLite itself would look after 1, 3, 8, 18, 33 ms.

    False if it is held for longer than that, or cannot be taken at all: the statement that waits in
    SQLite's own way then says so in its own words.
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
                time.sleep(TURNSTILE_INTERVAL)
            else:
                return True
    finally:
        driver.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_TIMEOUT * 1000)}")
    return False
