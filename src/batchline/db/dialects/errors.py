"""What a driver's error means, and what the operator can do about it."""

import re
from typing import Any

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)

DEADLOCKS = {1213, 1205}
"""MySQL's and MariaDB's codes for a deadlock and a lock wait that took too long."""


INSUFFICIENT_PRIVILEGE = "42501"


SERIALIZATION_FAILURES = {"40001", "40P01"}


def error_code(error: DBAPIError) -> Any:
    """The server's own code: a number on MySQL and MariaDB, five characters on PostgreSQL."""
    from pymysql.err import MySQLError  # slow to import, and only errors need it

    # PyMySQL has an SQLSTATE too, but it is the same for most of MySQL's codes.
    if isinstance(error.orig, MySQLError):
        return error.orig.args[0] if error.orig.args else None
    return getattr(error.orig, "sqlstate", None)


def is_deadlock(error: DBAPIError) -> bool:
    """Another transaction was in the way: nothing is wrong, and the same again may pass."""
    return error_code(error) in DEADLOCKS | SERIALIZATION_FAILURES


def is_missing_table(error: DBAPIError) -> bool:
    """The tables are not there: nobody has migrated this database."""
    return error_code(error) in (1146, "42P01") or "no such table" in str(error.orig)


def is_unavailable(error: DBAPIError) -> bool:
    """The server is away, refuses, is full or read-only: not the statement's fault."""
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError | InterfaceError | InternalError)
        or error_code(error) == INSUFFICIENT_PRIVILEGE
        or "file is not a database" in str(error.orig)
    )


def is_timeout(error: DBAPIError) -> bool:
    """The server holds the connection and does not answer: it is frozen, or cut off."""
    return bool(error.connection_invalidated and re.search("timed out|timeout", str(error.orig)))


HINTS = {
    "database is locked": "another program has been writing to the SQLite file for too long",
    "file is not a database": "this file is something else; name another one",
    "disk|full|No space": "make room on the database's disk",
    "readonly|read-only": "make the database writable for this user",
    "unable to open database file": "check that the SQLite file's folder exists and can be written",
    "Access denied .* to database|permission denied": "grant this user the rights",
    "Access denied|authentication failed|no password supplied": "check the user and the password",
    "Unknown database|database .* does not exist": "create the database first",
    "Can't connect|refused|timed out|timeout|resolve|translate host": "check the host and the port",
}
"""What the operator can do about an error, by what the driver says; the first that fits counts."""


def hint_for(error: DBAPIError) -> str:
    """What the operator can do about a connection that failed."""
    said = str(error.orig)
    fitting = (hint for pattern, hint in HINTS.items() if re.search(pattern, said))
    return next(fitting, "check DATABASE_URL or MYSQL_*, and that the server is up")
