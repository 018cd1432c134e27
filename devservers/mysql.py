"""MySQL."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pymysql

from devservers.fetch import Package
from devservers.server import Server, database_of, find_installed


class MySQL(Server):
    """MySQL, and the base of MariaDB, which has the same protocol and SQL."""

    name: ClassVar[str] = "mysql"
    package: ClassVar[Package] = Package(
        # Only Debian unstable has MySQL. The other releases have MariaDB instead.
        "mysql",
        "mysql-server-core",
        ("usr/sbin/mysqld",),
        unstable=True,
    )
    connect_error = pymysql.err.OperationalError

    @classmethod
    def installed(cls) -> Path | None:
        """Return an installed `mysqld`, unless it is MariaDB's, which may have the same name."""
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
        """Return the options to initialise and to serve. Durability keeps its safe defaults."""
        base = self.program.parent.parent
        return [
            str(self.program),
            "--no-defaults",  # must come first
            f"--basedir={base}",
            f"--datadir={self.data}",
            f"--lc-messages-dir={self.shared_files()}",
            "--user=root",  # MySQL requires this of root and ignores it for other users
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=256M",
            "--performance-schema=OFF",
            *self.special_options(),
        ]

    def special_options(self) -> list[str]:
        return ["--mysqlx=OFF"]

    def shared_files(self) -> Path:
        """Return the folder of messages and SQL files, which Debian puts in a subfolder."""
        share = self.program.parent.parent / "share"
        return next((share / sub for sub in ("mysql", "mariadb") if (share / sub).is_dir()), share)

    def command(self) -> list[str]:
        """Return the command that serves. The server creates the accounts before it listens."""
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

    def connect(self) -> Any:
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            connect_timeout=5,
            read_timeout=60,
            autocommit=True,
            ssl_disabled=True,  # PyMySQL would read all certificates of the system first
        )

    @contextmanager
    def encrypted(self, authority: bytes, certificate: bytes, key: bytes) -> Iterator[None]:
        before = self.execute("SELECT @@ssl_ca, @@ssl_cert, @@ssl_key")[0]
        files = self.write_files(ca=authority, cert=certificate, key=key)
        self._reload(*map(str, files.values()))
        try:
            yield
        finally:
            self._reload(*before)

    def _reload(self, authority: str, certificate: str, key: str) -> None:
        names = zip(("ca", "cert", "key"), (authority, certificate, key), strict=True)
        settings = ", ".join(f"GLOBAL ssl_{name} = '{value}'" for name, value in names)
        self.execute(f"SET {settings}")
        self.execute("ALTER INSTANCE RELOAD TLS")

    def url(self, database: str) -> str:
        account = f"{self.user}:{self.password}@{self.host}:{self.port}"
        return f"mysql+pymysql://{account}/{database}?charset=utf8mb4"

    def drop_database(self, url: str) -> None:
        """Kill the database's connections and drop it. An open transaction would block the drop."""
        name = database_of(url)
        connected = f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        for (connection,) in self.manage(connected):
            with suppress(self.connect_error):  # the connection may have ended already
                self.manage(f"KILL {connection}")
        self.manage(f"DROP DATABASE IF EXISTS {name}")
