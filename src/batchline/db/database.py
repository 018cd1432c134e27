"""The door to the database: read, write, and the translation of every driver's error."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from batchline.constants import POOL_TIMEOUT, SQLITE_QUICK_WAIT, STATEMENT_TIMEOUT
from batchline.db.circuit_breaker import CircuitBreaker
from batchline.db.dialects import connections, errors
from batchline.db.outage_log import OutageLog
from batchline.db.sqlite_write_queue import SqliteWriteQueue
from batchline.errors import (
    CommitUnknown,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    SchemaOutdated,
    SequenceBehind,
    StatementFailed,
    ValueRejected,
)
from batchline.metrics import DATABASE_ERRORS

T = TypeVar("T")

ATTEMPTS = 5
"""How often a write is tried when another transaction is in its way."""
BACKOFF = 0.02
"""Seconds that may pass before the second attempt; twice as many before the third, and so on."""


class Database:
    """One engine. Nothing connects before the first `read` or `write`.

    Args:
        timeout: seconds that a statement may take, or None for no limit.
        must_exist: do not let SQLite create the file if it is missing.
        renew: returns the URL again, with another password if it was changed meanwhile.
        refuse_in_outages: once the database is found to be unavailable, raise at once until it is
            available again, instead of waiting for it each time.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        timeout: float | None = STATEMENT_TIMEOUT,
        must_exist: bool = False,
        renew: Callable[[], str] | None = None,
        refuse_in_outages: bool = False,
    ) -> None:
        parsed = self._parsed = connections.with_driver(url)
        self._renew = renew
        self.url = connections.without_secrets(parsed)
        self.engine = _engine(parsed, pool_size, timeout)
        connections.prepare(self.engine, parsed, timeout, renew, must_exist=must_exist)
        self.outages = OutageLog()
        self._breaker = CircuitBreaker(self._probe, self.outages.end) if refuse_in_outages else None
        # SQLite lets one writer at a time, and lets the others ask again at ever longer intervals.
        # Those that wait for each other here are woken, and none of them starves.
        one_by_one = parsed.get_backend_name() == "sqlite"
        self._turn: AbstractContextManager[object] = (
            threading.Lock() if one_by_one else nullcontext()
        )
        self._write_queue = (
            SqliteWriteQueue(Path(parsed.database)) if one_by_one and parsed.database else None
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Return a connection for reading. Each statement reads consistent data.

        Raises:
            DatabaseUnavailable: the database does not respond.
            SchemaOutdated: a table is missing, or the file of SQLite is.
        """
        with _translate_errors(self.url), self._connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, patience: float = SQLITE_QUICK_WAIT) -> Iterator[Connection]:
        """Return a transaction that is committed at the end, or rolled back after an error.

        Args:
            patience: seconds to wait for SQLite's lock, in addition to `SQLITE_BUSY_TIMEOUT`.
        """
        opened = self._connect(writes=True, patience=patience)
        with _translate_errors(self.url), self._turn, opened as connection:
            transaction = connection.get_transaction()
            assert transaction is not None
            with transaction:
                yield connection

    def transaction(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in one write transaction, and repeat it if that is safe.

        It is safe after a deadlock, after a conflict on a unique key, and if the connection died
        before the COMMIT was sent. In all of these cases nothing was stored. If the server is
        read-only, one other connection is tried.

        Raises:
            CommitUnknown: the connection died before the COMMIT was confirmed.
            DatabaseUnavailable: nothing was stored.
        """
        for attempt in range(1, ATTEMPTS + 1):
            done = False
            try:
                with self.write() as connection:
                    result = work(connection)
                    done = True
                return result
            except (DatabaseUnavailable, Conflict) as error:
                cause = error.__cause__
                if done and _connection_died(cause):
                    raise CommitUnknown(f"COMMIT was not confirmed: {error}") from error
                again = isinstance(error, Conflict) or _may_succeed(cause, attempt)
                if attempt == ATTEMPTS or not again:
                    raise
                time.sleep(random.uniform(0, BACKOFF * attempt))  # noqa: S311, not a secret
        raise AssertionError("the last attempt either returned or raised")

    def check_server(self) -> None:
        """Connect once.

        Raises:
            ConfigurationError: the server is too old, or the URL has options that no driver takes.
            DatabaseUnavailable: the server does not respond.
        """
        try:
            with self.read() as connection:
                connections.check_version(connection)
        except (TypeError, ValueError, OSError, StatementFailed) as error:
            said = connections.without(str(error).strip(), self.engine.url)
            raise ConfigurationError(
                f"DATABASE_URL cannot be used: {said}",
                hint="correct the options after the ? in it",
            ) from error

    def another(self, timeout: float | None) -> "Database":
        """Return another engine for this database with one connection. The caller closes it.

        Args:
            timeout: seconds that a statement may take, or None for no limit.
        """
        url = self._parsed.render_as_string(hide_password=False)
        return Database(url, pool_size=1, timeout=timeout, renew=self._renew)

    def close(self) -> None:
        """Close the pooled connections."""
        if self._breaker:
            self._breaker.stop()
        self.engine.dispose()
        if self._write_queue:
            self._write_queue.close()

    @contextmanager
    def _connect(self, **options: Any) -> Iterator[Connection]:
        if self._breaker and self._breaker.is_open:
            raise DatabaseUnavailable(
                "the database has been unavailable for a while", hint="start the database server"
            )
        try:
            with self._begin(options) as connection:
                yield connection
        except DBAPIError as error:
            if errors.is_timeout(error):
                self._open_breaker(error)
            if errors.is_read_only(error):
                self.engine.dispose()  # new connections may lead to the new primary
            raise

    def _begin(self, options: dict[str, Any]) -> Connection:
        """Return a connection on which a transaction has begun.

        Another one takes the place of a connection that was cut: nothing was sent on it yet. A
        pooler may have kept several that its server has cut.
        """
        waits = "writes" in options
        for attempt in range(1, ATTEMPTS + 1):
            try:
                connection = self.engine.connect()
                if options:  # SQLAlchemy's machinery for none of them takes as long as for several
                    connection.execution_options(**options)
            except DBAPIError as error:
                self._open_breaker(error)
                raise
            try:
                with self._write_queue.turn() if self._write_queue and waits else nullcontext():
                    connection.begin()
            except BaseException as error:
                connection.close()
                was_cut = isinstance(error, DBAPIError) and errors.is_cut(error)
                if attempt == ATTEMPTS or not was_cut:
                    raise
            else:
                return connection
        raise AssertionError("the last attempt either returned or raised")

    def _open_breaker(self, error: DBAPIError) -> None:
        if self._breaker:
            self.outages.begin(_unavailable(self.url, error))
            self._breaker.open()

    def _probe(self) -> None:
        with _translate_errors(self.url), self.engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")


def _engine(url: URL, pool_size: int, timeout: float | None) -> Engine:
    try:
        return create_engine(
            connections.driver_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=POOL_TIMEOUT,
            # A `with` closes every connection and ends its transaction. Another ROLLBACK after
            # each COMMIT would be one more round trip for each group of registrations.
            pool_reset_on_return=None,
            hide_parameters=True,  # an error must not carry rows into the log
            **connections.engine_options(url, timeout),
        )
    except (ImportError, ArgumentError) as error:
        raise ConfigurationError(
            f"DATABASE_URL cannot be used: {connections.without(str(error), url)}",
            hint="leave out the driver: mysql://…, postgresql://… or sqlite:///…",
        ) from error


def _connection_died(cause: BaseException | None) -> bool:
    """Whether the connection died. An error that the server sent means that nothing was stored."""
    return isinstance(cause, DBAPIError) and cause.connection_invalidated


def _may_succeed(cause: BaseException | None, attempt: int) -> bool:
    """Whether another attempt may succeed after this error of the driver."""
    if not isinstance(cause, DBAPIError):
        return False
    if attempt == 1 and errors.is_read_only(cause):
        return True
    return cause.connection_invalidated or errors.is_deadlock(cause)


def _no_free_id(error: DBAPIError) -> SequenceBehind:
    return SequenceBehind(
        f"the database assigned an id that is taken: {errors.said(error)}",
        hint="run `batchline db upgrade`",
    )


def _statement_failed(error: DBAPIError) -> StatementFailed:
    return StatementFailed(f"the database rejected a statement: {errors.said(error)}")


@contextmanager
def _translate_errors(url: str) -> Iterator[None]:
    """The only place where an error of a driver becomes one of ours."""
    try:
        yield
    except PoolTimeout as error:
        DATABASE_ERRORS.add()
        raise DatabaseUnavailable(
            "every database connection is in use", hint="send the request again in a moment"
        ) from error
    except IntegrityError as error:
        if errors.is_taken_id(error):
            raise _no_free_id(error) from error
        if not errors.is_duplicate(error):
            DATABASE_ERRORS.add()
            raise _statement_failed(error) from error
        raise Conflict(f"the database has such a row already: {errors.said(error)}") from error
    except DataError as error:
        DATABASE_ERRORS.add()
        raise ValueRejected(f"the database rejected a value: {errors.said(error)}") from error
    except DBAPIError as error:
        if not errors.is_deadlock(error):
            DATABASE_ERRORS.add()
        if errors.is_taken_id(error):
            raise _no_free_id(error) from error
        if errors.is_missing_table(error):
            raise SchemaOutdated(
                f"the database {url} has not been migrated", hint="run `batchline db upgrade`"
            ) from error
        if not errors.is_unavailable(error):
            raise _statement_failed(error) from error
        raise _unavailable(url, error) from error


def _unavailable(url: str, error: DBAPIError) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"the database {url} {errors.problem_of(error)}", hint=errors.hint_for(error)
    )
