"""PostgreSQL's connections, also through a pooler.

PgBouncer and others may give each transaction another session, and refuse most parameters when a
client connects. So nothing is left in a session: no prepared statement, no `SET`, no lock, no
temporary table. Each transaction begins with its settings, in the same message.
"""

import re
import time
from typing import Any

import psycopg
from psycopg.sql import Literal
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL

from batchline.constants import CONNECT_TIMEOUT, IDLE_TIMEOUT
from batchline.errors import ConfigurationError

OPTION = re.compile(r"(?:-c\s*|--)([A-Za-z_][\w.-]*)=((?:\\.|\S)*)\s*")
"""One setting of `options`, as PostgreSQL reads them. A \\ makes a space part of the value."""


OTHER_TIMEOUTS = ("lock_timeout", "transaction_timeout")
"""The role may have them, and Batchline needs none. PostgreSQL before 17 has only the first one."""

READ_TIMEOUTS = (
    "SELECT current_setting('lock_timeout'), current_setting('transaction_timeout', true)"
)

STYLES = {"TimeZone": "UTC", "DateStyle": "ISO"}
"""The server tells a client these settings, and each change of them."""


class PostgresConnection(psycopg.Connection[Any]):
    """A connection that limits how long it waits. By default, psycopg waits forever.

    psycopg itself begins no transaction, since it would do so in a message of its own.
    """

    patience: float | None = CONNECT_TIMEOUT
    """Seconds to wait for a reply, or None for no limit."""
    begin_statement: str = ""
    begins: bool = True
    """Whether SQLAlchemy's transactions are real ones. Otherwise each statement is its own."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        if self.patience is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        end = time.monotonic() + self.patience
        try:
            return super().wait(gen, interval, self.patience)
        except psycopg.OperationalError:
            if time.monotonic() >= end:
                self.pgconn.finish()  # the next query must not read this query's late reply
            raise


class Dialect(PGDialect_psycopg):
    """SQLAlchemy's dialect for psycopg. Each transaction begins with its settings."""

    supports_statement_cache = True

    def initialize(self, connection: Any) -> None:
        """Read what SQLAlchemy knows of a server, such as the schema, with the same settings."""
        self.do_begin(connection.connection)
        super().initialize(connection)  # type: ignore[no-untyped-call]

    def do_begin(self, dbapi_connection: Any) -> None:
        if dbapi_connection.begins:
            dbapi_connection.execute(dbapi_connection.begin_statement)

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        dbapi_connection.begins = level != "AUTOCOMMIT"


def settings_of(url: URL, timeout: float | None) -> tuple[dict[str, str], str]:
    """Return the settings in the URL's `options`, and the statements that set ours.

    The server ends an idle transaction after `IDLE_TIMEOUT`.

    Args:
        timeout: seconds for one statement, or None for no limit.
    """
    ours = {
        "statement_timeout": int((timeout or 0) * 1000),
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT * 1000,
    }
    statements = (f"SET LOCAL {name} = {value}" for name, value in ours.items())
    timeouts = {*ours, *OTHER_TIMEOUTS}
    others = {name: value for name, value in _options(url).items() if name.lower() not in timeouts}
    return others, "; ".join(statements)


def _begin_statement(connection: PostgresConnection, options: dict[str, str], ours: str) -> str:
    """Return what begins a transaction with all of its settings.

    The isolation level and the styles do not depend on the settings of the role or of the database.
    `SET` costs half of `set_config`, and what the server has already is not set again.
    """
    given = {name.lower() for name in options}
    status = connection.info.parameter_status
    styles = {
        name: value
        for name, value in STYLES.items()
        if name.lower() in given or (status(name) or "").partition(",")[0] != value
    }
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    calls = [_set(name, value) for name, value in {**options, **styles}.items()]
    select = [f"SELECT {', '.join(calls)}"] if calls else []
    return "; ".join([begin, *select, ours])


def _set(name: str, value: str) -> str:
    """Return the call that sets a value until the transaction ends."""
    return f"set_config({Literal(name).as_string()}, {Literal(value).as_string()}, true)"


def _options(url: URL) -> dict[str, str]:
    """Return the settings in the URL's `options`.

    Raises:
        ConfigurationError: it has something else than settings.
    """
    given = url.query.get("options", ())
    text = given if isinstance(given, str) else " ".join(given)
    found: dict[str, str] = {}
    place = len(text) - len(text.lstrip())
    while place < len(text):
        option = OPTION.match(text, place)
        if option is None:
            raise ConfigurationError(
                f"the options of DATABASE_URL must be settings, got {text[place : place + 100]!r}",
                hint="write options=-csearch_path=NAME, with %20 between two of them",
            )
        found[option[1].replace("-", "_")] = re.sub(r"\\(.)", r"\1", option[2])
        place = option.end()
    return found


def connect(
    words: Any,
    arguments: dict[str, Any],
    options: dict[str, str],
    ours: str,
) -> Any:
    """Return a new connection. It waits for `CONNECT_TIMEOUT` until `limit_waiting` says more.

    It sends a statement, as PyMySQL does. So a server that lets clients in, but answers nothing, is
    found after `CONNECT_TIMEOUT`.

    Args:
        arguments: those for psycopg.
        options, ours: as `settings_of` returns them.
    """
    connection = PostgresConnection.connect(
        *words, **{**arguments, "autocommit": True, "prepare_threshold": None}
    )
    timeouts = zip(OTHER_TIMEOUTS, connection.execute(READ_TIMEOUTS).fetchone() or (), strict=True)
    none = [f"SET LOCAL {name} = 0" for name, value in timeouts if value not in (None, "0")]
    connection.begin_statement = _begin_statement(connection, options, "; ".join([ours, *none]))
    return connection


def limit_waiting(connection: PostgresConnection, timeout: float | None) -> None:
    """Let the server end a statement after so many seconds, and soon after that stop waiting."""
    connection.patience = None if timeout is None else timeout + 1
