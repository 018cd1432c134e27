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
from devservers.postgresql import PostgreSQL
from devservers.server import Server

SERVERS: dict[str, type[Server]] = {kind.name: kind for kind in (MySQL, MariaDB, PostgreSQL)}
NAMES = tuple(SERVERS)

__all__ = ["NAMES", "SERVERS", "Server", "ServerUnavailable", "start"]


@contextmanager
def start(name: str) -> Iterator[Server]:
    """Run one server during the block. Download its program first if the machine has none."""
    kind = SERVERS[name]
    server = kind(kind.find_program())
    try:
        server.begin()
        yield server
    finally:
        server.end()
