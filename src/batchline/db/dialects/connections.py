"""Connections to each database: driver, options, oldest supported version."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    event,
)
from sqlalchemy.dialects import registry
from sqlalchemy.engine import URL, Engine, make_url

from batchline.constants import (
    CONNECT_TIMEOUT,
    CONNECTION_MAX_AGE,
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    SQLITE_BUSY_TIMEOUT,
    UNACKNOWLEDGED_TIMEOUT,
)
from batchline.db.dialects import liveness, mysql
from batchline.db.dialects.inserts import copy_rows
from batchline.db.dialects.sqlite import begin, check_file, prepare_connection
from batchline.errors import ConfigurationError, SchemaOutdated
from batchline.redaction import HIDDEN

POSTGRESQL_DRIVER = "postgresql+batchline"
registry.register("postgresql.batchline", "batchline.db.dialects.postgresql", "Dialect")
DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": POSTGRESQL_DRIVER,
    "postgresql": POSTGRESQL_DRIVER,
    "postgresql+psycopg": POSTGRESQL_DRIVER,
}
"""The driver that Batchline installs for each database."""

POSTGRESQL_ARGUMENTS: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "client_encoding": "UTF8",
    "keepalives_idle": KEEPALIVE_IDLE,
    "keepalives_interval": KEEPALIVE_INTERVAL,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": UNACKNOWLEDGED_TIMEOUT * 1000,
}

Connect = Callable[[Any, Any, Any, Any], Any]
Renew = Callable[[], str]

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
    plain = url.set(drivername=url.get_backend_name(), query={})
    return plain.render_as_string(hide_password=True)


SECRET_OPTIONS = re.compile("pass|pwd|secret|token|key$", re.IGNORECASE)
"""The options in the query of a URL that have secrets as values."""


def without(text: str, url: URL) -> str:
    """Return what a driver says, without the password of the URL and the secrets in its query."""
    options = [value for name, value in url.query.items() if SECRET_OPTIONS.search(name)]
    secrets = [each for value in options for each in ([value] if isinstance(value, str) else value)]
    for each in filter(None, [url.password, *secrets]):
        text = text.replace(str(each), HIDDEN)
    return text


def _is_in_memory(url: URL) -> bool:
    name = (url.database or "").removeprefix("file:")
    return name in ("", ":memory:") or url.query.get("mode") == "memory"


def driver_url(url: URL) -> URL:
    """Return the URL without the options that are ours, and not the driver's."""
    return url.difference_update_query(["options", mysql.MODE])


def engine_options(url: URL, timeout: float | None) -> dict[str, Any]:
    """Return the options of `create_engine` for this database.

    The server ends an idle transaction after `IDLE_TIMEOUT`, so a process that stalls in the middle
    of a transaction does not hold its locks for longer. The isolation level is READ COMMITTED,
    because registrations and claims deadlock under InnoDB's default. On PostgreSQL, the statement
    that begins a transaction sets both.

    Args:
        timeout: seconds for one statement, or None for no limit.
    """
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_BUSY_TIMEOUT, "check_same_thread": False}}
    options: dict[str, Any] = {"pool_recycle": CONNECTION_MAX_AGE}
    if url.get_backend_name() == "postgresql":
        return {**options, "connect_args": _unless_given(url, POSTGRESQL_ARGUMENTS)}
    arguments = _unless_given(url, mysql.arguments(url, timeout))
    return {**options, "isolation_level": "READ COMMITTED", "connect_args": arguments}


def _unless_given(url: URL, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not in the URL's query. SQLAlchemy adds those that are."""
    return {name: value for name, value in arguments.items() if name not in url.query}


def prepare(
    engine: Engine, url: URL, timeout: float | None, renew: Renew | None, *, must_exist: bool
) -> None:
    """Attach listeners that prepare each new connection of this engine.

    Args:
        url: the database's, as `with_driver` returns it.
        timeout: seconds for one statement, or None for no limit.
        renew: returns the URL with the password of now, if it may change.
        must_exist: whether a missing file of SQLite is an error.
    """
    if engine.dialect.name == "sqlite":
        if must_exist:
            _refuse_to_create(engine)
        event.listen(engine, "connect", prepare_connection)
        event.listen(engine, "checkout", check_file)
        event.listen(engine, "begin", begin)
        return
    if engine.dialect.driver not in ("psycopg", "pymysql"):
        return  # another driver, which the user has installed
    connect = _connector(engine, url, timeout)
    event.listen(engine, "do_connect", _renewing(connect, renew) if renew else connect)
    event.listen(engine, "connect", _limiter(engine, timeout))  # after SQLAlchemy's statements
    liveness.watch(engine)
    if engine.dialect.name == "postgresql":
        event.listen(engine, "do_executemany", copy_rows)


def _renewing(connect: Connect, renew: Renew) -> Connect:
    """Return what reads the account again if a connection fails, and tries again if it changed."""
    account: dict[str, Any] = {}

    def try_again(dialect: Any, record: Any, words: Any, options: Any) -> Any:
        before = {**options, **account}
        try:
            return connect(dialect, record, words, before)
        except Exception:
            with suppress(ConfigurationError):  # the file is being replaced, or is gone
                account.update(_account(with_driver(renew())))
            now = {**options, **account}
            if now == before:
                raise
        return connect(dialect, record, words, now)

    return try_again


def _account(url: URL) -> dict[str, str]:
    found = {"user": url.username, "password": url.password}
    return {name: value for name, value in found.items() if value is not None}


def _connector(engine: Engine, url: URL, timeout: float | None) -> Connect:
    """Return what opens a connection to a server."""
    if engine.dialect.name == "postgresql":
        from batchline.db.dialects import postgresql  # slow to import

        given, ours = postgresql.settings_of(url, timeout)

        def to_postgresql(dialect: Any, record: Any, words: Any, options: Any) -> Any:
            return postgresql.connect(words, options, given, ours)

        return to_postgresql

    def to_mysql(dialect: Any, record: Any, words: Any, options: Any) -> Any:
        return mysql.connect(words, options)

    return to_mysql


def _limiter(engine: Engine, timeout: float | None) -> Callable[[Any, Any], None]:
    """Return what lets a new connection wait for a statement as long as it may take."""

    def limit(connection: Any, record: Any) -> None:
        if engine.dialect.name == "postgresql":
            from batchline.db.dialects import postgresql

            postgresql.limit_waiting(connection, timeout)
        else:
            mysql.limit_waiting(connection, timeout)

    return limit


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
