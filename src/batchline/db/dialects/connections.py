"""Connect to each database: its driver, its session settings, its oldest version."""

import time
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
from batchline.errors import ConfigurationError

DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}


OLDEST = {"mysql": (8, 0, 1), "mariadb": (10, 6), "postgresql": (13,), "sqlite": (3, 35)}


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


def engine_options(url: URL, timeout: float | None) -> dict[str, Any]:
    """What `create_engine` needs for this database; a statement may take `timeout` seconds.

    A process that was stopped in the middle of a transaction loses its locks after `IDLE_TIMEOUT`.
    READ COMMITTED: under InnoDB's default, registrations and claims deadlock each other.
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


def prepare(engine: Engine, timeout: float | None) -> None:
    """Attach what each new connection of this engine needs; a statement may take `timeout` s."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", prepare_connection)
        event.listen(engine, "checkout", check_file)
        event.listen(engine, "begin", begin)
    if engine.dialect.name == "postgresql":
        if timeout is not None:
            _limit_waiting(engine, timeout + 1)  # the server's own limit comes first
        event.listen(engine, "do_executemany", copy_rows)


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
