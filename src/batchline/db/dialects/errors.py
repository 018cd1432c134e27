"""The meaning of a driver's error, and a hint for the operator."""

import re
from typing import Any

from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)

from batchline import redaction
from batchline.db.models import metadata

LOCK_WAIT_TIMEOUT = 1205
DEADLOCKS = {1213, LOCK_WAIT_TIMEOUT}
"""MySQL's and MariaDB's codes for a deadlock and for a lock wait timeout."""

LOCK_TIMEOUTS = {LOCK_WAIT_TIMEOUT, "55P03"}
"""The codes for a lock that another transaction held for too long."""

INSUFFICIENT_PRIVILEGE = "42501"
"""PostgreSQL's code for a missing privilege."""

DENIED = {1142, 1143, INSUFFICIENT_PRIVILEGE}
"""The codes of a server that denies a statement to the user."""

SERIALIZATION_FAILURES = {"40001", "40P01"}
"""PostgreSQL's codes for a serialization failure and for a deadlock."""


READ_ONLY = {1290, 1792, 1836, "25006"}
"""The codes of a server that writes nothing, such as one that was the primary before a failover."""


MISSING_TABLES = {1146, 1356, "42P01"}
"""The codes for a missing table. 1356 is that of a view on one, on MySQL and MariaDB."""


DUPLICATES = {1062, 1586, "23505"}
"""The codes for a row that violates a unique key."""


def error_code(error: DBAPIError) -> Any:
    """Return the server's code: an integer on MySQL and MariaDB, a SQLSTATE on PostgreSQL."""
    from pymysql.err import MySQLError  # slow to import, and needed only for errors

    # PyMySQL has SQLSTATEs too, but most of MySQL's codes share one.
    if isinstance(error.orig, MySQLError):
        return error.orig.args[0] if error.orig.args else None
    return getattr(error.orig, "sqlstate", None)


def is_deadlock(error: DBAPIError) -> bool:
    """Return whether another transaction caused the error, so that a retry can succeed."""
    return error_code(error) in DEADLOCKS | SERIALIZATION_FAILURES


def is_lock_timeout(error: BaseException | None) -> bool:
    """Return whether another transaction held a lock for too long."""
    return isinstance(error, DBAPIError) and error_code(error) in LOCK_TIMEOUTS


NO_IDS = r"Duplicate entry '9223372036854775807' for key|Failed to read auto-increment value"
"""The messages of MySQL and MariaDB if a row has the largest id."""


def is_read_only(error: DBAPIError) -> bool:
    """Return whether the server writes nothing, although another one may."""
    return error_code(error) in READ_ONLY


def is_denied(error: BaseException | None) -> bool:
    """Return whether the user lacks a right on a table or a schema."""
    return isinstance(error, DBAPIError) and error_code(error) in DENIED


def is_taken_id(error: DBAPIError) -> bool:
    """Return whether the database assigned an id of our tables that is taken."""
    if re.search(NO_IDS, str(error.orig)):
        return True
    told = getattr(error.orig, "diag", None)
    if told is None or told.table_name not in metadata.tables:
        return False
    return "(id)=" in (told.message_detail or "")


def is_duplicate(error: DBAPIError) -> bool:
    """Return whether a row has a unique key that another row has."""
    return error_code(error) in DUPLICATES or "UNIQUE constraint failed" in str(error.orig)


def is_missing_table(error: DBAPIError) -> bool:
    """Return whether a table is missing, because the database has not been migrated."""
    return error_code(error) in MISSING_TABLES or "no such table" in str(error.orig)


def is_unavailable(error: DBAPIError) -> bool:
    """Return whether the server, not the statement, caused the error.

    The server cannot be reached, rejects the user, has no free space or is read-only.
    """
    return (
        error.connection_invalidated
        or isinstance(error, OperationalError | InterfaceError | InternalError)
        or error_code(error) == INSUFFICIENT_PRIVILEGE
        or "file is not a database" in str(error.orig)
    )


def problem_of(error: DBAPIError) -> str:
    """Return what is wrong with a database whose error `is_unavailable`, for a sentence."""
    if error.statement and is_timeout(error):  # it may wait for a lock, or be slow
        return f"did not complete a statement in time: {said(error)}"
    if is_silent(error):
        return f"does not respond: {said(error)}"
    return f"cannot be used: {said(error)}"


DISK_FULL = {3, 1021, 1030, 1114}
NAMES_ONLY = DISK_FULL | {1044, 1045, 1048, 1054, 1142, 1143, 1146, 1264, 1364, 1406}
"""MySQL's and MariaDB's codes for messages that quote names of users, tables, columns and files."""
NAMES_ONLY_CLASSES = {"0A", "25", "28", "3D", "40", "42", "53", "54", "55", "57", "58"}
"""PostgreSQL's classes of such messages."""


def said(error: DBAPIError) -> str:
    """Return the server's message, without the values of rows that it may quote."""
    text, code = str(error.orig).strip(), error_code(error)
    if not error.statement or not error.params or code is None:
        # No row was sent, or the database is SQLite, which quotes none.
        return " ".join(text.split())
    text = text.partition("\n")[0]  # PostgreSQL's details and context quote rows
    if code in NAMES_ONLY or str(code)[:2] in NAMES_ONLY_CLASSES:
        return text
    return redaction.quoted(text)


def is_silent(error: DBAPIError) -> bool:
    """Return whether the server cannot be reached, or stopped responding.

    Otherwise it responded, and rejected the user, the database, the encryption or the statement.
    Or its name has no address, so nothing was asked.
    """
    if re.search(NOT_SILENT, str(error.orig)):
        return False
    code = error_code(error)
    if type(error.orig).__module__.startswith("psycopg"):
        return code is None and " FATAL: " not in str(error.orig)  # FATAL: the server said so
    return code in SILENT


def is_cut(error: DBAPIError) -> bool:
    """Return whether the connection is gone, and the next one may be better at once."""
    return error.connection_invalidated and not is_timeout(error)


def is_timeout(error: DBAPIError) -> bool:
    """Return whether the server stopped responding while the connection stayed open."""
    return bool(error.connection_invalidated and re.search("timed out|timeout", str(error.orig)))


STARTING = r"resolve|translate host|\[Errno -\d|starting up|shutting down|recovery|too many clients"
"""The messages of a name that has no address yet, and of PostgreSQL before it lets clients in."""


def is_starting(error: BaseException | None) -> bool:
    """Return whether a connection failed as it does before the server has started.

    Waiting does not help against a wrong password, a missing database or encryption.
    """
    if not isinstance(error, DBAPIError):
        return False
    said = re.search(STARTING, str(error.orig))
    return bool(said) or error_code(error) in OUTAGES or is_silent(error)


OUTAGES = {1040, 1053, 1927, 2002, 2003, 2006, 2013}
"""MySQL's and MariaDB's codes for a server that stops, is gone or has too many connections."""


SILENT = {2002, 2003, 2006, 2013}
"""Those of a server that cannot be reached or stopped responding."""


NOT_ENCRYPTED = (
    "support SSL|SSL negotiation|SSL is required|(?i:certificate)|does not match host name"
)
"""The messages for a server that answers without encryption, or with another certificate."""


NOT_SILENT = rf"resolve host|translate host|\[Errno -\d|{NOT_ENCRYPTED}"
"""Those and the messages for a name without an address. Python's errors of names are negative."""


def is_outage(error: DBAPIError) -> bool:
    """Return whether the same may succeed in a moment, on a new connection."""
    if re.search(NOT_ENCRYPTED, str(error.orig)):
        return False
    code = error_code(error)
    if error.connection_invalidated or code in OUTAGES | READ_ONLY or is_deadlock(error):
        return True
    if type(error.orig).__module__.startswith("psycopg"):  # no SQLSTATE: it did not connect
        return isinstance(error, OperationalError) and str(code or "08")[:2] in ("08", "57")
    return "database is locked" in str(error.orig)


def rejects_writes(error: BaseException | None) -> bool:
    """Return whether the server responds and stores nothing: read-only, full, or a missing right.

    Waiting for other transactions or for the server is another matter.
    """
    if not isinstance(error, DBAPIError):
        return False
    return is_read_only(error) or not (is_outage(error) or is_timeout(error))


HINTS = {
    "Hostname mismatch|IP address mismatch|does not match host name": "name the host as its "
    "certificate does, or check only the authority: ssl_mode=VERIFY_CA, or sslmode=verify-ca",
    "certificate has expired|certificate is not yet valid": "renew the server's certificate, or "
    "correct the clock of this machine",
    "certificate verify failed|CERTIFICATE_VERIFY_FAILED|root certificate": "name the file of the "
    "certificate authority that signed the server's certificate: ssl_ca, or sslrootcert. If it is "
    "the right one, the server's certificate may have expired",
    "database is locked": "stop the other program that is writing to the SQLite file",
    "file is not a database": "set DATABASE_URL to a SQLite file or to a new file",
    "database or disk is full": "free space on the database's disk. If there is enough, the "
    "ids may be used up: run `batchline db upgrade`",
    "disk|full|No space": "free space on the database's disk",
    "readonly|read-only": "make the database writable for this user",
    "unable to open database file": "create the folder of the SQLite file and make it writable",
    "permission denied to set parameter|parameter .* cannot be changed": "correct the options "
    "after the ? in DATABASE_URL",
    "must be owner of": "use the user that owns the tables. If options of the URL set the role, "
    "run ALTER ROLE USER SET role = OWNER instead, which index builds need",
    "statement pooling mode": "set pool_mode = transaction in the settings of PgBouncer",
    "permission denied for schema": "use the user that may create tables in this schema, or run "
    "GRANT CREATE, USAGE ON SCHEMA as an administrator",
    "command denied|permission denied for (table|sequence)": "run `batchline check`",
    "Access denied .* to database|permission denied": "grant this user access to the database",
    "Access denied|authentication failed|no password supplied": "check the user and the password",
    "Unknown database|database .* does not exist": "create the database",
    "support SSL|SSL negotiation|SSL is required": "correct the options of encryption in the URL",
    "Can't connect|refused|timed out|timeout|resolve|translate host": "check the host and the port",
}
"""A hint for each pattern of the driver's message. The first matching pattern is used."""


def hint_for(error: DBAPIError) -> str:
    """Return a hint for an error that `is_unavailable`."""
    if error.statement and is_timeout(error):
        return "look for locks and slow statements in the server's list of processes"
    message = str(error.orig)
    matching = (hint for pattern, hint in HINTS.items() if re.search(pattern, message))
    return next(matching, "check DATABASE_URL or MYSQL_*, and that the server is running")
