"""The programs with which operators back up and restore a database."""

from pathlib import Path

from devservers.fetch import Package, fetched
from devservers.server import Server

PACKAGES = {
    "mysql": Package(
        "mysql-client", "mysql-client-core", ("usr/bin/mysqldump", "usr/bin/mysql"), unstable=True
    ),
    "mariadb": Package(
        "mariadb-client", "mariadb-client", ("usr/bin/mariadb-dump", "usr/bin/mariadb")
    ),
}


def folder_of_clients(server: Server) -> Path:
    """Return the folder with the programs of a server's release, after downloading them.

    PostgreSQL's are next to the server.
    """
    package = PACKAGES.get(server.name)
    return fetched(package) / "usr" / "bin" if package else server.program.parent
