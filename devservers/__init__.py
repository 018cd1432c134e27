"""Private, throw-away database servers for the tests and the benchmarks.

    with devservers.start("mysql") as server:
        url = server.create_database()

Every server has a free loopback port and a data folder of its own, and both are
gone afterwards, even when the process that started it is killed.
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
    """Run one server for the length of the block; fetches its program first if need be."""
    kind = SERVERS[name]
    server = kind(kind.find_program())
    try:
        server.begin()
        yield server
    finally:
        server.end()
