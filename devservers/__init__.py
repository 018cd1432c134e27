"""Temporary database servers for the tests and the benchmarks.

    with devservers.start("mysql") as server:
        url = server.create_database()

Each server has its own loopback port and data folder. It is stopped and its data is removed
afterwards, even if the process that started it is killed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from devservers.errors import ServerUnavailable
from devservers.mariadb import MariaDB
from devservers.mysql import MySQL
from devservers.pgbouncer import PgBouncer
from devservers.postgresql import PostgreSQL
from devservers.server import Server

SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (MySQL, MariaDB, PostgreSQL)}
NAMES = tuple(SERVERS)
PROGRAMS: dict[str, type[Server]] = {**SERVERS, PgBouncer.name: PgBouncer}
"""All that the tests need from outside of Python."""

__all__ = ["NAMES", "PROGRAMS", "Server", "ServerUnavailable", "start", "start_pooler"]


@contextmanager
def start(name: str) -> Iterator[Server]:
    """Run one server during the block. Download its program first if the machine has none."""
    kind = SERVERS[name]
    with _running(kind(kind.find_program())) as server:
        yield server


@contextmanager
def start_pooler(server: Server, mode: str = "transaction", size: int = 3) -> Iterator[Server]:
    """Run PgBouncer in front of a PostgreSQL server during the block."""
    with _running(PgBouncer(PgBouncer.find_program(), server, mode, size)) as pooler:
        yield pooler


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    try:
        server.begin()
        yield server
    finally:
        server.end()
