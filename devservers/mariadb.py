"""MariaDB. It differs from MySQL in its program and in the creation of its data folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from devservers.fetch import Package
from devservers.mysql import MySQL
from devservers.server import find_installed

SYSTEM_TABLES = (
    "*_system_tables.sql",
    "*_performance_tables.sql",
    "*_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
)


class MariaDB(MySQL):
    _certificate: Sequence[str] = ()
    name: ClassVar[str] = "mariadb"
    package: ClassVar[Package] = Package("mariadb", "mariadb-server-core", ("usr/sbin/mariadbd",))

    @classmethod
    def installed(cls) -> Path | None:
        return find_installed("mariadbd")

    def initialise(self) -> None:
        """Create the data folder as mariadb-install-db does, without help texts and sys schema.

        mariadb-install-db itself has fixed paths. `@auth_root_socket` lets only the operating
        system's root log in as root; without it, root could log in over TCP without a password.
        """
        self.data.mkdir()
        sql = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket='root';\n"
        for pattern in SYSTEM_TABLES:
            sql += next(self.shared_files().glob(pattern)).read_text()
        self.run_to_end([*self.options(), "--bootstrap"], input=sql.encode())
        (self.home / "accounts.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{self.user}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'%' WITH GRANT OPTION;\n"
        )

    def _reload(self, authority: str, certificate: str, key: str) -> None:
        """Start again, because MariaDB reads other files only at its start."""
        self._certificate = [f"--ssl-cert={certificate}", f"--ssl-key={key}"] if key else []
        self.restart()

    def special_options(self) -> list[str]:
        # Servers that start at the same time remove each other's tables from a shared folder.
        return [f"--tmpdir={self.home}", *self._certificate]
