"""The sessions of a server, as another session sees them."""

from typing import Any

from sqlalchemy import Connection, text

QUERIES = {
    "postgresql": "SELECT state <> 'idle' AND (:begins OR state NOT LIKE 'idle in%') "
    "FROM pg_stat_activity WHERE pid = :session",
    "mysql": "SELECT command <> 'Sleep' FROM information_schema.processlist WHERE id = :session",
}
QUERIES["mariadb"] = QUERIES["mysql"]


def session_id(connection: Connection) -> int | None:
    """Return the server's number of this session, without asking. SQLite has none."""
    driver: Any = connection.connection.driver_connection
    if hasattr(driver, "thread_id"):
        return int(driver.thread_id())
    return int(driver.info.backend_pid) if hasattr(driver, "info") else None


def is_busy(connection: Connection, session: int, *, begins: bool = False) -> bool:
    """Return whether a session executes a statement, or is not known to this server.

    Args:
        begins: whether a transaction is enough that waits for its next statement.
    """
    query = text(QUERIES[connection.dialect.name])
    found = connection.execute(query, {"session": session, "begins": begins}).scalar()
    return found is None or bool(found)
