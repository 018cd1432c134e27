"""PgBouncer in front of a PostgreSQL server, with its default settings."""

from pathlib import Path
from typing import ClassVar

from devservers.fetch import Package
from devservers.postgresql import PostgreSQL
from devservers.server import Server, find_installed

SETTINGS = """
[databases]
* = host={server.host} port={server.port}
[pgbouncer]
listen_addr = {pooler.host}
listen_port = {pooler.port}
unix_socket_dir =
auth_file = {pooler.home}/users
pool_mode = {pooler.mode}
default_pool_size = {pooler.size}
"""


class PgBouncer(PostgreSQL):
    """To clients it is a PostgreSQL server, with the account and the databases of the other one.

    Args:
        mode: `session`, `transaction` or `statement`.
        size: connections to the server for each database.
    """

    name: ClassVar[str] = "pgbouncer"
    package: ClassVar[Package] = Package("pgbouncer", "pgbouncer", ("usr/sbin/pgbouncer",))

    def __init__(self, program: Path, server: Server, mode: str, size: int) -> None:
        super().__init__(program)
        self.server, self.mode, self.size = server, mode, size
        self.password = server.password

    @classmethod
    def installed(cls) -> Path | None:
        return find_installed("pgbouncer")

    def initialise(self) -> None:
        self._write("users", f'"{self.user}" "{self.password}"\n')

    def command(self) -> list[str]:
        self._write("settings", SETTINGS.format(pooler=self, server=self.server))
        return [str(self.program), str(self.home / "settings")]

    def _write(self, name: str, text: str) -> None:
        path = self.home / name
        path.write_text(text)
        self._give_to_server(path)
