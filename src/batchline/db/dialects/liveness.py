"""Find pooled connections that were cut while nobody used them.

Servers, poolers and proxies close idle connections, and some networks drop their packets silently.
The first statement on such a connection would fail, or wait for the timeout of a statement.
"""

import select
import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import InvalidatePoolError

from batchline.constants import CONNECT_TIMEOUT, IDLE_TEST_AFTER
from batchline.db.dialects import mysql

SINCE = "idle_since"


def watch(engine: Engine) -> None:
    """Test each connection of this engine when it is used again.

    A look at its socket finds one that was closed, and costs a few microseconds. A statement
    finds one that is silent. It is sent only after `IDLE_TEST_AFTER` seconds without use.
    """
    event.listen(engine, "checkin", _note)
    event.listen(engine, "checkout", _test)


def _note(connection: Any, record: Any) -> None:
    record.info[SINCE] = time.monotonic()


def _test(connection: Any, record: Any, proxy: Any) -> None:
    since = record.info.pop(SINCE, None)
    if since is None:  # it is new
        return
    try:
        if _has_input(connection) or time.monotonic() - since > IDLE_TEST_AFTER:
            _ping(connection)
    except Exception as error:  # the drivers and the sockets have errors of their own
        # The others were cut too, or will be. The pool replaces them, and this one now.
        raise InvalidatePoolError(f"a connection was cut while it was idle: {error}") from error


def _has_input(connection: Any) -> bool:
    """Whether the server sent something although nothing was asked. Mostly it is the end."""
    poll = select.poll()
    poll.register(_socket(connection), select.POLLIN)
    return bool(poll.poll(0))


def _socket(connection: Any) -> int:
    found = connection._sock if hasattr(connection, "_sock") else connection
    return int(found.fileno())


def _ping(connection: Any) -> None:
    if hasattr(connection, "_sock"):
        before = mysql.limit_waiting(connection, CONNECT_TIMEOUT)
        connection.ping(reconnect=False)
        mysql.limit_waiting(connection, before)
    else:
        before, connection.patience = connection.patience, CONNECT_TIMEOUT
        connection.execute("SELECT 1")
        connection.patience = before
