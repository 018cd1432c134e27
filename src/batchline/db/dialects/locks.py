"""Let one migration run at a time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    Connection,
)

from batchline.constants import (
    MIGRATION_TIMEOUT,
)
from batchline.errors import DatabaseUnavailable

MYSQL_LOCK = "SHA2(CONCAT('batchline.', DATABASE()), 224)"  # 64 characters at most


MYSQL_LOCKS = f"SELECT GET_LOCK({MYSQL_LOCK}, 0)", f"SELECT RELEASE_LOCK({MYSQL_LOCK})"


MIGRATION_LOCKS = {
    "mysql": MYSQL_LOCKS,
    "mariadb": MYSQL_LOCKS,
    # It ends with the transaction; other programs have other numbers.
    "postgresql": ("SELECT pg_try_advisory_xact_lock(hashtext('batchline'))", None),
}
"""How to take and to release it."""


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Let one migration at a time pass; the next one waits.

    SQLite needs no more than the write transaction, which only one can have; `upgrade` begins it
    with as much patience.

    Raises:
        DatabaseUnavailable: another migration has not ended within `MIGRATION_TIMEOUT` seconds.
    """
    take, release = MIGRATION_LOCKS.get(connection.dialect.name, (None, None))
    if take:
        _poll(connection, take)
    try:
        yield
    finally:
        if release and not connection.invalidated:
            connection.exec_driver_sql(release)


def _poll(connection: Connection, take: str) -> None:
    # One long wait would meet the limit for a statement.
    end = time.monotonic() + MIGRATION_TIMEOUT
    while not connection.exec_driver_sql(take).scalar():
        if time.monotonic() > end:
            raise DatabaseUnavailable("another migration is still running", hint="wait for its end")
        time.sleep(0.1)
