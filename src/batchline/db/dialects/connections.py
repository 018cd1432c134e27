"""Connections to each database: driver, session settings, oldest supported version."""

import time
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    event,
)
from sqlalchemy.engine import URL, Engine, make_url

from batchline.constants import (
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    SQLITE_BUSY_TIMEOUT,
)
from batchline.db.dialects.inserts import copy_rows
from batchline.db.dialects.sqlite import begin, check_file, prepare_connection
from batchline.errors import ConfigurationError, SchemaOutdated

DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
"""The driver that Batchline installs for each database."""

OLDEST = {"mysql": (8, 0, 1), "mariadb": (10, 6), "postgresql": (13,), "sqlite": (3, 35)}


def with_driver(url: str) -> URL:
    """Return the URL with the driver that Batchline installs, if it names no other.

    Raises:
        ConfigurationError: the URL is invalid, or its database is not supported.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise ConfigurationError(
            "DATABASE_URL is not a database URL",
            hint="set DATABASE_URL to a URL such as mysql://user:password@host:3306/database "
            "or sqlite:///batchline.db",
        ) from error
    if "@" in (parsed.host or ""):
        raise ConfigurationError(
            "DATABASE_URL has more than one @",
            hint="write an @ in the password as %40, a : as %3A and a / as %2F",
        )
    parsed = parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))
    if parsed.get_backend_name() not in OLDEST:
        raise ConfigurationError(
            f"the database of DATABASE_URL is not supported: it must be one of "
            f"{', '.join(OLDEST)}, got {parsed.get_backend_name()}",
            hint="set DATABASE_URL to a supported database",
        )
    if parsed.get_backend_name() == "sqlite" and _is_in_memory(parsed):
        raise ConfigurationError(
            "DATABASE_URL must name a file of SQLite, because several processes share it; "
            "got a database in memory",
            hint="set DATABASE_URL to a file, such as sqlite:///batchline.db",
        )
    if parsed.get_backend_name() in ("mysql", "mariadb") and "charset" not in parsed.query:
        parsed = parsed.update_query_dict({"charset": "utf8mb4"})
    return parsed


def without_secrets(url: URL) -> str:
    """Return the URL for messages. Its query may hold passwords too."""
    return url.set(query={}).render_as_string(hide_password=True)


def _is_in_memory(url: URL) -> bool:
    name = (url.database or "").removeprefix("file:")
    return name in ("", ":memory:") or url.query.get("mode") == "memory"


def engine_options(url: URL, timeout: float | None) -> dict[str, Any]:
    """Return the options of `create_engine` for this database.

    The server ends an idle transaction after `IDLE_TIMEOUT`, so a process that stalls in the middle
    of a transaction does not hold its locks for longer. The isolation level is READ COMMITTED,
    because registrations and claims deadlock under InnoDB's default.

    Args:
        timeout: seconds for one statement, or None for no limit.
    """
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_BUSY_TIMEOUT, "check_same_thread": False}}
    options: dict[str, Any] = {"isolation_level": "READ COMMITTED"}
    if url.get_backend_name() == "postgresql":
        session = {
            "statement_timeout": int((timeout or 0) * 1000),
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


def prepare(engine: Engine, timeout: float | None, *, must_exist: bool) -> None:
    """Attach listeners that prepare each new connection of this engine.

    Args:
        timeout: seconds for one statement, or None for no limit.
        must_exist: whether a missing file of SQLite is an error.
    """
    if engine.dialect.name == "sqlite":
        if must_exist:
            _refuse_to_create(engine)
        event.listen(engine, "connect", prepare_connection)
        event.listen(engine, "checkout", check_file)
        event.listen(engine, "begin", begin)
    if engine.dialect.driver == "pymysql":
        _limit_handshake(engine, timeout)
    if engine.dialect.name == "postgresql":
        if timeout is not None:
            _limit_waiting(engine, timeout + 1)  # the server's own timeout expires first
        event.listen(engine, "do_executemany", copy_rows)


def _refuse_to_create(engine: Engine) -> None:
    """Let a connection fail if the file of SQLite is missing. By default, SQLite creates it."""
    path = Path((engine.url.database or "").removeprefix("file:").partition("?")[0])

    def check(dialect: Any, record: Any, words: Any, options: Any) -> None:
        if not path.exists():
            raise SchemaOutdated(
                f"the database {without_secrets(engine.url)} does not exist",
                hint="correct DATABASE_URL, or create the database with `batchline db upgrade`",
            )

    event.listen(engine, "do_connect", check)


def _limit_handshake(engine: Engine, timeout: float | None) -> None:
    """Let PyMySQL time out if the server accepts a connection and says nothing.

    PyMySQL's `connect_timeout` ends when the port accepts. The handshake, and the statements that
    PyMySQL sends in it, wait for `read_timeout`, which is that of a statement.
    """

    def connect(dialect: Any, record: Any, words: Any, options: dict[str, Any]) -> Any:
        connection = dialect.connect(*words, **{**options, "read_timeout": CONNECT_TIMEOUT})
        connection._read_timeout = timeout  # PyMySQL reads it before each answer
        return connection

    event.listen(engine, "do_connect", connect)


def _limit_waiting(engine: Engine, seconds: float) -> None:
    """Let psycopg time out if the server stalls. By default, it waits forever.

    A new connection sends a statement, as PyMySQL's do. So a server that lets clients in, but
    answers nothing, is found after `CONNECT_TIMEOUT`.
    """
    import psycopg

    class LimitedConnection(psycopg.Connection[Any]):
        patience: float = CONNECT_TIMEOUT

        def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
            end = time.monotonic() + self.patience
            try:
                return super().wait(gen, interval, self.patience if timeout is None else timeout)
            except psycopg.OperationalError:
                if time.monotonic() >= end:
                    self.pgconn.finish()  # the next query must not read this query's late reply
                raise

    def connect(dialect: Any, record: Any, words: Any, options: Any) -> LimitedConnection:
        connection = LimitedConnection.connect(*words, **{**options, "autocommit": True})
        connection.execute("SELECT 1")
        connection.autocommit = False
        connection.patience = seconds
        return connection

    event.listen(engine, "do_connect", connect)


def check_version(connection: Connection) -> None:
    """Check that the server's version is supported and that the database stores Unicode.

    Raises:
        ConfigurationError: the server is too old, or the database's encoding is not UTF-8.
    """
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise ConfigurationError(
                f"the encoding of the database must be UTF8, got {encoding}",
                hint="run `CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0`",
            )
    dialect: Any = connection.dialect
    name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    found = tuple(dialect.server_version_info or ())
    if found and found < OLDEST[name]:
        raise ConfigurationError(
            f"the database server must be {name} {_dotted(OLDEST[name])} or newer, "
            f"got {_dotted(found)}",
            hint="upgrade the server, or set DATABASE_URL to another one",
        )


def _dotted(version: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in version)
