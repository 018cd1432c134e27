"""PostgreSQL."""

import os
import pwd
import shutil
import signal
from pathlib import Path
from typing import Any, ClassVar

import psycopg

from devservers.errors import ServerUnavailable
from devservers.fetch import Package
from devservers.server import Server, database_of, find_installed

BIN = "usr/lib/postgresql/*/bin"


class PostgreSQL(Server):
    name: ClassVar[str] = "postgresql"
    package: ClassVar[Package] = Package(
        "postgresql", "postgresql", (f"{BIN}/postgres", f"{BIN}/initdb")
    )
    stop_signal = signal.SIGINT  # SIGTERM would wait for every client to leave
    connect_error = psycopg.OperationalError

    @classmethod
    def installed(cls) -> Path | None:
        """Debian keeps the server out of PATH, one folder for each major version."""
        found = list(Path("/").glob(f"{BIN}/postgres"))
        newest = max(found, key=lambda path: float(path.parts[-3]), default=None)
        return find_installed("postgres") or newest

    def initialise(self) -> None:
        self._give_to_server(self.data)
        password_file = self.home / "password"
        password_file.write_text(self.password)
        self._give_to_server(password_file)
        self.run_to_end(
            [
                str(self.program.with_name("initdb")),
                f"--pgdata={self.data}",
                f"--username={self.user}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",  # the new folder only; the server itself syncs as usual
            ]
        )

    def _give_to_server(self, path: Path) -> None:
        """Hand a path to the server's user, who must also get through the folder around it."""
        if not path.exists():
            path.mkdir(mode=0o700)
        if account := unprivileged():
            self.home.chmod(0o711)
            shutil.chown(path, account.pw_uid, account.pw_gid)

    def identity(self) -> dict[str, Any]:
        account = unprivileged()
        if account is None:
            return {}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 300,
            "shared_buffers": "128MB",
            "fsync": "on",
            "synchronous_commit": "on",
            # In the data folder, not in /dev/shm where a killed server would leave it behind.
            "dynamic_shared_memory_type": "mmap",
        }
        options = [f"--{key}={value}" for key, value in settings.items()]
        return [str(self.program), "-D", str(self.data), *options]

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(
            self.url("postgres").replace("+psycopg", ""), autocommit=True, connect_timeout=5
        ) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def url(self, database: str) -> str:
        account = f"{self.user}:{self.password}@{self.host}:{self.port}"
        return f"postgresql+psycopg://{account}/{database}"

    def drop_database(self, url: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {database_of(url)} WITH (FORCE)")


def unprivileged() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses to run as root. None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerUnavailable(
        "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as."
    )
