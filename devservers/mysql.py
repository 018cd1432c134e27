"""MySQL proper."""

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pymysql

from devservers.fetch import Package
from devservers.server import Server, database_of, find_installed


class MySQL(Server):
    """MySQL; also most of MariaDB, which speaks the same protocol and SQL."""

    name: ClassVar[str] = "mysql"
    package: ClassVar[Package] = Package(
        # Among Debian's releases only unstable has it; the others have MariaDB in its place.
        "mysql",
        "mysql-server-core",
        ("usr/sbin/mysqld",),
        unstable=True,
    )
    connect_error = pymysql.err.OperationalError

    @classmethod
    def installed(cls) -> Path | None:
        """A `mysqld` may be MariaDB's, which installs itself under that name too."""
        program = find_installed("mysqld")
        if program is None:
            return None
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        return None if "MariaDB" in version else program

    def initialise(self) -> None:
        self.run_to_end([*self.options(), "--initialize-insecure"])
        (self.home / "accounts.sql").write_text(
            f"CREATE USER IF NOT EXISTS '{self.user}'@'%' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON *.* TO '{self.user}'@'%' WITH GRANT OPTION;\n"
            f"ALTER USER root@localhost IDENTIFIED BY '{self.password}';\n"
        )

    def options(self) -> list[str]:
        """What initialising and serving need alike. Durability stays at its safe defaults."""
        base = self.program.parent.parent
        return [
            str(self.program),
            "--no-defaults",  # must come first
            f"--basedir={base}",
            f"--datadir={self.data}",
            f"--lc-messages-dir={self.shared_files()}",
            "--user=root",  # only root may change the user, and only root needs to say so
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
            "--performance-schema=OFF",
            *self.special_options(),
        ]

    def special_options(self) -> list[str]:
        return ["--mysqlx=OFF"]

    def shared_files(self) -> Path:
        """Where messages and SQL files are: a packaged server has them one folder deeper."""
        share = self.program.parent.parent / "share"
        return next((share / sub for sub in ("mysql", "mariadb") if (share / sub).is_dir()), share)

    def command(self) -> list[str]:
        """The accounts are made by the server itself, before it listens: no moment without them."""
        return [
            *self.options(),
            f"--bind-address={self.host}",
            f"--port={self.port}",
            f"--socket={self.home / 'socket'}",
            f"--pid-file={self.home / 'pid'}",
            f"--init-file={self.home / 'accounts.sql'}",
            "--secure-file-priv=",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--max-connections=300",
        ]

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        with pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            connect_timeout=5,
            read_timeout=60,
            autocommit=True,
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return list(cursor.fetchall())

    def url(self, database: str) -> str:
        account = f"{self.user}:{self.password}@{self.host}:{self.port}"
        return f"mysql+pymysql://{account}/{database}?charset=utf8mb4"

    def drop_database(self, url: str) -> None:
        """Connections to it are ended first: one open transaction would block the drop for good."""
        name = database_of(url)
        connected = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        for (connection,) in self.execute(connected):
            with suppress(self.connect_error):  # it may have ended by itself meanwhile
                self.execute(f"KILL {connection}")
        self.execute(f"DROP DATABASE IF EXISTS {name}")
