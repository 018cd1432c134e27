"""Find out whether the server still works on the statement that a command waits for."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import event

from batchline.constants import CONNECT_TIMEOUT
from batchline.db.database import Database
from batchline.db.dialects import sessions
from batchline.errors import BatchlineError

PAUSE = 1.0


class StatementWatch:
    """Notes since when a thread waits for a statement or a COMMIT.

    Another thread may ask whether the server is busy with it. A command has one such thread.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._since: float | None = None
        self._session: int | None = None
        self._begins = False
        engine = database.engine
        event.listen(engine, "before_cursor_execute", self._statement_begins)
        event.listen(engine, "commit", self._commit_begins)
        if engine.dialect.name == "postgresql":  # MySQL's driver says nothing to the server
            event.listen(engine, "begin", self._transaction_begins)
        event.listen(engine, "after_cursor_execute", self._ends)
        event.listen(engine, "handle_error", self._ends)
        event.listen(engine, "checkin", self._ends)

    @property
    def seconds(self) -> float:
        """How long the thread has waited for the statement in progress, or 0."""
        since = self._since
        return 0.0 if since is None else self._clock() - since

    def is_answered(self) -> bool:
        """Return whether the server responds, and its session has something to do.

        A session behind a pooler is not found. Then it is enough that the server responds. Another
        one may just have ended its statement, so it is looked at twice.
        """
        session, begins = self._session, self._begins
        try:
            with closing(self._database.another(timeout=CONNECT_TIMEOUT)) as other:
                if _is_busy(other, session, begins):
                    return True
                time.sleep(PAUSE)
                return _is_busy(other, session, begins)
        except BatchlineError:
            return False

    def _statement_begins(self, connection: Any, *_: object) -> None:
        self._waits(connection)

    def _commit_begins(self, connection: Any) -> None:
        self._waits(connection)

    def _transaction_begins(self, connection: Any) -> None:
        """Nothing tells when that has ended, so a transaction at rest counts as an answer."""
        self._waits(connection, begins=True)

    def _waits(self, connection: Any, *, begins: bool = False) -> None:
        self._begins = begins
        self._session = sessions.session_id(connection)
        self._since = self._clock()

    def _ends(self, *_: object) -> None:
        self._since = None


def _is_busy(database: Database, session: int | None, begins: bool) -> bool:
    with database.read() as connection:
        return session is None or sessions.is_busy(connection, session, begins=begins)
