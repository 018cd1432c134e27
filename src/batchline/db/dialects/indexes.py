"""Indexes that are built and dropped while other clients write to the table."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Index, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateIndex

from batchline.constants import MIGRATION_TIMEOUT, TABLE_LOCK_INTERVAL, TABLE_LOCK_WAIT
from batchline.db.dialects import schemas
from batchline.db.dialects.errors import LOCK_WAIT_TIMEOUT, error_code

ONLINE = "ALGORITHM = INPLACE, LOCK = NONE"
"""MySQL and MariaDB reject the statement if they cannot do it without blocking writers."""

INVALID = text(
    "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid"
)
BUILDS = text(
    "SELECT count(*) FROM pg_stat_progress_create_index"
    " WHERE relid = to_regclass(:table) AND datname = current_database()"
)


@contextmanager
def builder(holder: Connection) -> Iterator[Connection]:
    """Return the connection that builds indexes while `holder` has the migration lock.

    PostgreSQL builds an index without blocking writers only outside a transaction. It waits for all
    transactions that have a snapshot. The holder's has none between its statements. There, nothing
    can set the `search_path`, so all names get their schema.
    """
    schema = schemas.current(holder)
    if schema is None:
        yield holder
        return
    with holder.engine.connect() as connection:
        yield connection.execution_options(
            isolation_level="AUTOCOMMIT", schema_translate_map={None: schema}
        )


def build(connection: Connection, index: Index) -> None:
    """Build an index, unless it is complete already."""
    table, name = _names(index)
    if connection.dialect.name == "postgresql":
        _drop_interrupted(connection, table, name)
    if exists(connection, table, name):
        return
    statement = str(CreateIndex(index).compile(dialect=connection.dialect))
    if connection.dialect.name == "postgresql":
        statement = statement.replace(" INDEX ", " INDEX CONCURRENTLY ", 1)
        statement = statement.replace(f" ON {table} ", f" ON {_qualified(connection, table)} ", 1)
    if connection.dialect.name in ("mysql", "mariadb"):
        columns = ", ".join(column.name for column in index.columns)
        _alter(connection, f"ALTER TABLE {table} ADD INDEX {name} ({columns}), {ONLINE}")
    else:
        connection.exec_driver_sql(statement)


def drop(connection: Connection, table: str, name: str) -> None:
    """Drop an index if it exists."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            f"DROP INDEX CONCURRENTLY IF EXISTS {_qualified(connection, name)}"
        )
    elif connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
    elif exists(connection, table, name):
        _alter(connection, f"ALTER TABLE {table} DROP INDEX {name}, {ONLINE}")


def exists(connection: Connection, table: str, name: str) -> bool:
    """Whether the table has an index of this name."""
    found = inspect(connection).get_indexes(table, schema=_schema(connection))
    return name in {index["name"] for index in found}


def _alter(connection: Connection, statement: str) -> None:
    """Change a table of MySQL or MariaDB.

    This needs the table for itself for a moment. While it waits for an open transaction, writers
    wait behind it. So it gives up soon, lets them pass, and tries again.
    """
    end = time.monotonic() + MIGRATION_TIMEOUT
    connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {TABLE_LOCK_WAIT}")
    while True:
        try:
            connection.exec_driver_sql(statement)
        except DBAPIError as error:
            if error_code(error) != LOCK_WAIT_TIMEOUT or time.monotonic() > end:
                raise
            time.sleep(TABLE_LOCK_INTERVAL)
        else:
            return


def _names(index: Index) -> tuple[str, str]:
    assert index.table is not None
    assert index.name is not None
    return index.table.name, index.name


def _schema(connection: Connection) -> str | None:
    names: dict[None, str] = connection.get_execution_options().get("schema_translate_map", {})
    return names.get(None)


def _qualified(connection: Connection, name: str) -> str:
    schema = _schema(connection)
    quote = connection.dialect.identifier_preparer.quote
    return name if schema is None else f"{quote(schema)}.{name}"


def _drop_interrupted(connection: Connection, table: str, name: str) -> None:
    """Drop an index that PostgreSQL has not completed.

    The server of a migration that was killed may still be building it. To drop it then would be a
    deadlock.
    """
    while connection.execute(BUILDS, {"table": _qualified(connection, table)}).scalar():
        time.sleep(TABLE_LOCK_INTERVAL)
    if connection.execute(INVALID, {"name": _qualified(connection, name)}).scalar():
        drop(connection, table, name)
