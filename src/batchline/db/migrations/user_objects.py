"""Views, triggers and indexes of the user, which a migration must leave as they were.

SQLite cannot alter a column, so a migration copies the table, and drops the old one with its
triggers and indexes. On the other databases nothing is lost, but on PostgreSQL a view can block a
change.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from batchline.errors import ConfigurationError

DEPENDENT_OBJECTS = "2BP01"
"""PostgreSQL's code for a change that a view, or another object, depends on."""


@contextmanager
def kept(connection: Connection) -> Iterator[None]:
    """Keep what the user has created around a migration, in the migration's transaction.

    Raises:
        ConfigurationError: a view, trigger or index blocks the migration, or would not outlive it.
    """
    try:
        if connection.dialect.name == "sqlite":
            with _kept_on_sqlite(connection):
                yield
        else:
            yield
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != DEPENDENT_OBJECTS:
            raise
        raise _blocked(f"the migration is blocked: {error.orig}") from error


@contextmanager
def _kept_on_sqlite(connection: Connection) -> Iterator[None]:
    working = [name for name in _names(connection, "view") if not _error(connection, name)]
    before = _statements(connection)
    # Without this, SQLite rewrites or rejects views and triggers that mention a renamed table.
    connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")
    for name in before.keys() - _statements(connection).keys():
        try:
            connection.exec_driver_sql(before[name])
        except DBAPIError as error:
            if _is_failed_statement(error):
                raise _blocked(f"{name} cannot be created again: {error.orig}") from error
            raise
    for name in working:
        if problem := _error(connection, name):
            raise _blocked(f"the view {name} would not work after the migration: {problem}")


def _names(connection: Connection, kind: str) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = ?"
    return list(connection.exec_driver_sql(query, (kind,)).scalars())


def _statements(connection: Connection) -> dict[str, str]:
    """Return the statement that creates each trigger and each index, by "trigger NAME"."""
    query = "SELECT type || ' ' || name, sql FROM sqlite_master WHERE type IN ('trigger', 'index')"
    found = connection.exec_driver_sql(f"{query} AND sql IS NOT NULL").all()
    return {row[0]: row[1] for row in found}


def _error(connection: Connection, view: str) -> str | None:
    """Return why a view cannot be read. It is only compiled, because reading it may take long."""
    quoted = connection.dialect.identifier_preparer.quote_identifier(view)
    try:
        connection.exec_driver_sql(f"EXPLAIN SELECT * FROM {quoted}")  # noqa: S608, it is quoted
    except DBAPIError as error:
        if _is_failed_statement(error):
            return str(error.orig)
        raise
    return None


def _is_failed_statement(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorname", None) == "SQLITE_ERROR"


def _blocked(message: str) -> ConfigurationError:
    return ConfigurationError(
        message, hint="drop it, run `batchline db upgrade`, and create it again"
    )
