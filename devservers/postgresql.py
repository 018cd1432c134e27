"""PostgreSQL."""

import os
import pwd
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    stop_signal = signal.SIGINT  # SIGTERM would wait for every client to disconnect
    connect_error = psycopg.OperationalError

    @classmethod
    def installed(cls) -> Path | None:
        """Return the newest installed server. Debian has a folder outside PATH for each version."""
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
                "--no-sync",  # only for the new folder; the server itself syncs as usual
            ]
        )

    def _give_to_server(self, path: Path) -> None:
        """Make the server's user the owner of a path, and let it enter the parent folder."""
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
            # In the data folder, because a killed server would leave its files in /dev/shm.
            "dynamic_shared_memory_type": "mmap",
        }
        options = [f"--{key}={value}" for key, value in settings.items()]
        return [str(self.program), "-D", str(self.data), *options]

    def connect(self) -> Any:
        url = self.url("postgres").replace("+psycopg", "")
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    @contextmanager
    def encrypted(self, authority: bytes, certificate: bytes, key: bytes) -> Iterator[None]:
        files = self.write_files(certificate=certificate, key=key)
        for file in files.values():
            file.chmod(0o600)  # PostgreSQL requires it
            self._give_to_server(file)
        self._set(ssl_cert_file=f"'{files['certificate']}'", ssl_key_file=f"'{files['key']}'")
        self._set(ssl="on")
        try:
            yield
        finally:
            self._set(ssl="off")

    def _set(self, **settings: str) -> None:
        """Change settings of the running server. New connections have them."""
        for name, value in settings.items():
            self.execute(f"ALTER SYSTEM SET {name} = {value}")
        loaded = "SELECT pg_conf_load_time()"
        (before,) = self.execute(loaded)
        self.execute("SELECT pg_reload_conf()")
        while self.execute(loaded)[0] == before:
            time.sleep(0.01)

    def url(self, database: str) -> str:
        account = f"{self.user}:{self.password}@{self.host}:{self.port}"
        return f"postgresql+psycopg://{account}/{database}"

    def drop_database(self, url: str) -> None:
        self.manage(f"DROP DATABASE IF EXISTS {database_of(url)} WITH (FORCE)")


def unprivileged() -> pwd.struct_passwd | None:
    """Return the user to run as, because PostgreSQL does not run as root. None if not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerUnavailable(
        "PostgreSQL does not run as root, and this machine has neither a user postgres nor nobody."
    )
