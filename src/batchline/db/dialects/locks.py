"""The lock that lets one migration run at a time, and how long it waits for other locks."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    Connection,
)

from batchline.constants import (
    MIGRATION_TIMEOUT,
    TABLE_LOCK_WAIT,
)
from batchline.errors import DatabaseUnavailable

MYSQL_LOCK = "SHA2(CONCAT('batchline.', DATABASE()), 224)"  # 64 characters at most


MYSQL_LOCKS = f"SELECT GET_LOCK({MYSQL_LOCK}, 0)", f"SELECT RELEASE_LOCK({MYSQL_LOCK})"


SHORT_WAITS = {
    "mysql": f"SET SESSION lock_wait_timeout = {TABLE_LOCK_WAIT}",
    "mariadb": f"SET SESSION lock_wait_timeout = {TABLE_LOCK_WAIT}",
    "postgresql": f"SET LOCAL lock_timeout = '{TABLE_LOCK_WAIT}s'",
}


MIGRATION_LOCKS = {
    "mysql": MYSQL_LOCKS,
    "mariadb": MYSQL_LOCKS,
    # The lock ends with the transaction. The hash of the name keeps it apart from other programs.
    "postgresql": ("SELECT pg_try_advisory_xact_lock(hashtext('batchline'))", None),
}
"""The statements that take and release the lock."""


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Hold the migration lock, after waiting for another migration.

    On SQLite, the write transaction is the lock. `upgrade` waits for it for as long. On PostgreSQL,
    the holder may be idle for as long as another connection builds an index.

    Raises:
        DatabaseUnavailable: another migration still runs after `MIGRATION_TIMEOUT` seconds.
    """
    take, release = MIGRATION_LOCKS.get(connection.dialect.name, (None, None))
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    if take:
        _poll(connection, take)
    try:
        yield
    finally:
        if release and not connection.invalidated:
            connection.exec_driver_sql(release)


def wait_briefly(connection: Connection) -> None:
    """Let each statement of this transaction wait for a table for `TABLE_LOCK_WAIT` seconds only.

    A statement that changes a table needs it for itself. While it waits for an open transaction,
    all others that use the table wait behind it.
    """
    if statement := SHORT_WAITS.get(connection.dialect.name):
        connection.exec_driver_sql(statement)


def _poll(connection: Connection, take: str) -> None:
    # A single statement that waits would exceed the statement timeout.
    end = time.monotonic() + MIGRATION_TIMEOUT
    while not connection.exec_driver_sql(take).scalar():
        if time.monotonic() > end:
            raise DatabaseUnavailable(
                f"another migration is still running after {MIGRATION_TIMEOUT} seconds",
                hint="run `batchline db upgrade` again when it has finished",
            )
        time.sleep(0.1)
