"""Every difference between the databases, and nothing else.

SQLAlchemy calls both MySQL and MariaDB "mysql"; `dialect.is_mariadb` tells them apart.
"""

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Enum,
    Integer,
    LargeBinary,
    String,
    Text,
    event,
)
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import URL, Dialect, Engine, make_url
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType, TypeDecorator

from batchline.constants import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    MIGRATION_TIMEOUT,
    SQLITE_BUSY_TIMEOUT,
    TURNSTILE_INTERVAL,
    Status,
)
from batchline.errors import ConfigurationError, DatabaseUnavailable

DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
OLDEST = {"mysql": (8, 0, 1), "mariadb": (10, 6), "postgresql": (13,), "sqlite": (3, 35)}
DEADLOCKS = {1213, 1205}
"""MySQL's and MariaDB's codes for a deadlock and a lock wait that took too long."""
INSUFFICIENT_PRIVILEGE = "42501"
SERIALIZATION_FAILURES = {"40001", "40P01"}
STATEMENT_BYTES = 1024 * 1024
STATEMENT_ROWS = 1_000
"""A multi-row INSERT ends at either; the smallest `max_allowed_packet` in use is 4 MiB."""
COPY_ROWS = 100
"""From so many rows on PostgreSQL's COPY is quicker than an INSERT, one more round trip and all."""

# Types -----------------------------------------------------------------------------------------


class TolerantDateTime(sqlite.DATETIME):
    """SQLite's, but for a text that is no time, which a client may have written: it is None."""

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        parse: Any = super().result_processor(dialect, coltype)

        def process(value: object) -> datetime | None:
            try:
                return parse(value)  # type: ignore[no-any-return]
            except (TypeError, ValueError):
                return None

        return process


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes in Python; what each database does best underneath.

    MySQL's TIMESTAMP rather than DATETIME: it keeps UTC whatever a client's session time zone is,
    and its default needs no expression, which MySQL before 8.0.13 refuses.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.TIMESTAMP(fsp=6))
        if dialect.name == "sqlite":
            return TolerantDateTime()  # type: ignore[no-untyped-call]
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):  # what a client wrote by hand may be no time at all
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers only INTEGER keys by itself."""

Json = Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4"), "mysql", "mariadb")
"""JSON is kept as text: what comes back is what went in, with keys in label order (MySQL's JSON
type sorts them), and text that is no JSON fails as an item, with a reason."""

Blob = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")

Name = String(64).with_variant(
    mysql.VARCHAR(64, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)
"""A text that is the same only if each character is; elsewhere that is the rule."""

StatusWord = Enum(
    *Status, name="items_status", native_enum=False, create_constraint=True, length=9
).with_variant(mysql.ENUM(*Status), "mysql", "mariadb")

TABLE_OPTIONS: dict[str, Any] = {
    "sqlite_autoincrement": True,  # an id that was answered is never given to another item
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}


SQLITE_NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"


class utc_now(FunctionElement[datetime]):
    """The database's own clock, to the millisecond or better."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(utc_now)
def _utc_now(element: utc_now, compiler: Any, **options: Any) -> str:
    return "CURRENT_TIMESTAMP"


@compiles(utc_now, "mysql", "mariadb")
def _utc_now_mysql(element: utc_now, compiler: Any, **options: Any) -> str:
    return "CURRENT_TIMESTAMP(6)"


@compiles(utc_now, "sqlite")
def _utc_now_sqlite(element: utc_now, compiler: Any, **options: Any) -> str:
    return f"({SQLITE_NOW})"


class byte_length(FunctionElement[int]):
    """The size of a text in bytes, read from the row's header where the database can."""

    type = Integer()
    inherit_cache = True


@compiles(byte_length)
def _byte_length(element: byte_length, compiler: Any, **options: Any) -> str:
    return f"OCTET_LENGTH({compiler.process(element.clauses, **options)})"


@compiles(byte_length, "sqlite")
def _byte_length_sqlite(element: byte_length, compiler: Any, **options: Any) -> str:
    # octet_length() came with SQLite 3.43; the length of a blob is the same number.
    return f"LENGTH(CAST({compiler.process(element.clauses, **options)} AS BLOB))"


class raw_text(FunctionElement[Any]):
    """A text as the driver gives it fastest, str or bytes, even where its bytes are no text."""

    type = NullType()
    inherit_cache = True


@compiles(raw_text)
def _raw_text(element: raw_text, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(raw_text, "sqlite")
def _raw_text_sqlite(element: raw_text, compiler: Any, **options: Any) -> str:
    # SQLite stores any bytes as text; its driver raises for the whole result at the first bad one.
    return f"CAST({compiler.process(element.clauses, **options)} AS BLOB)"


# Connections -----------------------------------------------------------------------------------


def with_driver(url: str) -> URL:
    """The URL with the driver that Batchline brings, where it names none.

    Raises:
        ConfigurationError: it is no URL, or of a database that is not supported.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ConfigurationError(
            "DATABASE_URL is not a database URL",
            hint="it looks like mysql+pymysql://user:password@host:3306/database "
            "or sqlite:///batchline.db",
        ) from error
    if "@" in (parsed.host or ""):
        raise ConfigurationError(
            "DATABASE_URL has more than one @, so it is not clear where the password ends",
            hint="write an @ in the password as %40, a : as %3A and a / as %2F",
        )
    parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.get_backend_name() not in OLDEST:
        raise ConfigurationError(
            f"DATABASE_URL names the database {parsed.get_backend_name()}, which is not supported",
            hint=f"use one of {', '.join(OLDEST)}",
        )
    if parsed.get_backend_name() in ("mysql", "mariadb") and "charset" not in parsed.query:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    return parsed


def engine_options(url: URL, timeout: float) -> dict[str, Any]:
    """What `create_engine` needs for this database; a statement may take `timeout` seconds.

    A process that was stopped in the middle of a transaction loses its locks after `IDLE_TIMEOUT`.
    READ COMMITTED: under InnoDB's default, registrations and claims deadlock each other.
    """
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_BUSY_TIMEOUT, "check_same_thread": False}}
    options: dict[str, Any] = {"isolation_level": "READ COMMITTED"}
    if url.get_backend_name() == "postgresql":
        session = {
            "statement_timeout": int(timeout * 1000),
            "idle_in_transaction_session_timeout": IDLE_TIMEOUT * 1000,
            "timezone": "UTC",
        }
        options["connect_args"] = {
            "connect_timeout": CONNECT_TIMEOUT,
            "client_encoding": "UTF8",
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        }
    else:
        options["connect_args"] = {
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": timeout,
            "write_timeout": timeout,
            "init_command": f"SET time_zone = '+00:00', wait_timeout = {IDLE_TIMEOUT}",
        }
        options["pool_recycle"] = IDLE_TIMEOUT // 2  # before the server closes it
    return options


def prepare(engine: Engine, timeout: float) -> None:
    """Attach what each new connection of this engine needs; a statement may take `timeout` s."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "checkout", _check_file)
        event.listen(engine, "begin", _begin_sqlite)
    if engine.dialect.name == "postgresql":
        _limit_waiting(engine, timeout + 1)  # the server's own limit, and its answer, come first
        event.listen(engine, "do_executemany", _copy)


def _limit_waiting(engine: Engine, seconds: float) -> None:
    """Let psycopg give up on a server that is frozen; by itself it would wait for ever."""
    import psycopg

    class ImpatientConnection(psycopg.Connection[Any]):
        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            end = time.monotonic() + seconds
            try:
                return super().wait(gen, interval, seconds if timeout is None else timeout)
            except psycopg.OperationalError:
                if time.monotonic() >= end:
                    self.pgconn.finish()  # a late answer would be taken for that of the next query
                raise

    event.listen(
        engine,
        "do_connect",
        lambda dialect, record, words, options: ImpatientConnection.connect(*words, **options),
    )


def _prepare_sqlite(connection: Any, record: Any) -> None:
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


def _check_file(connection: Any, record: Any, proxy: Any) -> None:
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


def _begin_sqlite(connection: Connection) -> None:
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


def check_version(connection: Connection) -> None:
    """Refuse a server that is older than what Batchline is tested with, or holds no Unicode.

    Raises:
        ConfigurationError: it is older, or its encoding is another.
    """
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the database's encoding is {encoding}; Batchline needs UTF8",
                hint="CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0",
            )
    dialect: Any = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    found = tuple(dialect.server_version_info or ())
    if found and found < OLDEST[name]:
        raise ConfigurationError(
            f"the database server is {name} {_dotted(found)}; Batchline needs "
            f"{name} {_dotted(OLDEST[name])} or newer",
            hint="upgrade the server, or set DATABASE_URL to another one",
        )


def _dotted(version: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in version)


# Errors ----------------------------------------------------------------------------------------


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


# Migrations ------------------------------------------------------------------------------------

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


# Statements ------------------------------------------------------------------------------------


def insert_returning_ids(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> list[int]:
    """One multi-row INSERT; the new ids in the order of the rows.

    MySQL, MariaDB and SQLite give one statement's rows consecutive ids and name the first or the
    last, which is a multiple quicker than RETURNING them. The step is `@@auto_increment_increment`,
    which is not 1 under group replication or Galera. On PostgreSQL ids grow along a statement's
    rows, so sorted ids are in that order too (RETURNING promises none).
    """
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_ROWS:
        return _copy_returning_ids(connection, table, columns, rows)
    statement = _multi_row(connection, table, columns, len(rows))
    values = tuple(chain.from_iterable(rows))
    if connection.dialect.name == "sqlite":
        last = connection.exec_driver_sql(statement, values).lastrowid
        return list(range(last - len(rows) + 1, last + 1))
    if connection.dialect.name == "postgresql":
        returned = connection.exec_driver_sql(f"{statement} RETURNING id", values)
        return sorted(returned.scalars())
    first = connection.exec_driver_sql(statement, values).lastrowid
    step = _id_step(connection)
    return list(range(first, first + step * len(rows), step))


def _id_step(connection: Connection) -> int:
    """Asked once on each connection: a session's own value only that session can change."""
    if "id_step" not in connection.info:
        step = connection.exec_driver_sql("SELECT @@auto_increment_increment").scalar_one()
        connection.info["id_step"] = step
    return int(connection.info["id_step"])


def _copy_returning_ids(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]
) -> list[int]:
    """Take the ids first, as one text, and COPY them with their rows; see `_copy`."""
    take = (
        f"SELECT string_agg(nextval(pg_get_serial_sequence('{table}', 'id'))::text, ',')"
        " FROM generate_series(1, %s)"
    )
    taken: str = connection.exec_driver_sql(take, (len(rows),)).scalar_one()
    ids = sorted(map(int, taken.split(",")))
    numbered = [(item_id, *row) for item_id, row in zip(ids, rows, strict=True)]
    connection.exec_driver_sql(f"COPY {table} (id, {', '.join(columns)}) FROM STDIN", numbered)
    return ids


def _copy(cursor: Any, statement: str, rows: Any, context: Any) -> bool:
    """Do a COPY where SQLAlchemy would execute many, so that errors are treated like all others."""
    if not statement.startswith("COPY "):
        return False
    with cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
    return True


def insert_many(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows in bulk, if any, the quickest way that the driver has.

    That is COPY on PostgreSQL, in a fifth of executemany's time, and elsewhere a multi-row
    statement built in one go: half of executemany's time with SQLite's driver, two thirds with
    PyMySQL.
    """
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_ROWS:
        connection.exec_driver_sql(f"COPY {table} ({', '.join(columns)}) FROM STDIN", list(rows))
        return
    for part in _parts(rows):
        statement = _multi_row(connection, table, columns, len(part))
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(part)))


def _multi_row(connection: Connection, table: str, columns: Sequence[str], rows: int) -> str:
    names = ", ".join(columns)
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    one = f"({', '.join([mark] * len(columns))})"
    values = f"VALUES {', '.join([one] * rows)}"
    if connection.dialect.name != "sqlite":
        return f"INSERT INTO {table} ({names}) {values}"
    # SQLite would work out the default of created_at for each row, which is a third of all.
    given = ", ".join(f"column{number}" for number in range(1, len(columns) + 1))
    select = f"SELECT {given}, (SELECT {SQLITE_NOW}) FROM ({values})"
    return f"INSERT INTO {table} ({names}, created_at) {select}"


def _parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(rows), STATEMENT_ROWS):
        part = rows[start : start + STATEMENT_ROWS]
        if sum(map(_size, part)) <= STATEMENT_BYTES:
            yield part
        else:
            yield from _smaller_parts(part)


def _smaller_parts(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    part: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        part.append(row)
        size += _size(row)
        if size >= STATEMENT_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _size(row: tuple[Any, ...]) -> int:
    return len(row[-1])  # the longest text is in the last column, or no longer than that
