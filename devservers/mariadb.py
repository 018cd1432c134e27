"""MariaDB: MySQL but for its program and the way in which its data folder is made."""

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
    name: ClassVar[str] = "mariadb"
    package: ClassVar[Package] = Package("mariadb", "mariadb-server-core", ("usr/sbin/mariadbd",))

    @classmethod
    def installed(cls) -> Path | None:
        return find_installed("mariadbd")

    def initialise(self) -> None:
        """What mariadb-install-db does, whose paths are fixed, less help texts and sys schema.

        Root is tied to the operating system's root through the socket; without
        that setting it could be reached over TCP with no password.
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

    def special_options(self) -> list[str]:
        # In a shared folder, servers that start side by side remove each other's tables.
        return [f"--tmpdir={self.home}"]
